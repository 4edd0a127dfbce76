from __future__ import annotations

import struct
import tracemalloc
import zlib
from collections.abc import Callable
from functools import cache, partial
from io import BytesIO
from typing import Any, cast

import cv2
import numpy as np
import pytest
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps

from detection.codecs.decode import REDUCTIONS, Source
from detection.errors import ImageError, ImageErrorCode, ImageWarning
from detection.geometry import Region
from tests.pictures import EXIF_ORIENTATION, astronaut, bgr, encoded, stored_turned

MAX_PIXELS = 100_000_000
LOSSLESS, LOSSY = 0.0, 4.0  # mean absolute difference, of 255

Pixels = NDArray[np.uint8]

# Neither side a multiple of 8 or 16, no symmetry.
PICTURE = astronaut().crop((150, 20, 311, 137))
GREY = PICTURE.convert("L")
SIXTEEN_BITS = Image.fromarray(np.asarray(GREY).astype(np.uint16) * 257)


def opened(data: bytes) -> Source:
    return Source.open(data, MAX_PIXELS)


def difference(a: Pixels, b: Pixels) -> float:
    assert a.shape == b.shape
    return float(np.abs(a.astype(int) - b).mean())


def on_white(image: Image.Image) -> Image.Image:
    ground = Image.new("RGB", image.size, "white")
    ground.paste(image.convert("RGB"), mask=image.convert("RGBA").getchannel("A"))
    return ground


def with_hole(image: Image.Image) -> Image.Image:
    alpha = Image.new("L", image.size, 255)
    alpha.paste(0, (10, 10, 60, 50))
    image = image.copy()
    image.putalpha(alpha)
    return image


def palette_with_transparency() -> tuple[bytes, Image.Image]:
    image = PICTURE.quantize(64)
    data = encoded(image, "PNG", transparency=0)
    hidden = np.asarray(image) == 0
    assert hidden.any()
    pixels = np.array(image.convert("RGB"))
    pixels[hidden] = 255
    return data, Image.fromarray(pixels)


def written_by_opencv(pixels: NDArray[np.uint16 | np.float32], extension: str) -> bytes:
    done, data = cv2.imencode(extension, pixels)
    assert done
    return data.tobytes()


def animation(image_format: str) -> bytes:
    others = [Image.new("RGB", PICTURE.size, color) for color in ("red", "blue")]
    return encoded(PICTURE, image_format, save_all=True, append_images=others, lossless=True)


def png_chunk(kind: bytes, content: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + checksum


def psd(image: Image.Image, version: int = 1, depth: int = 8) -> bytes:
    """Without layers, its composite not compressed."""
    channels = np.atleast_3d(np.asarray(image))
    height, width, count = channels.shape
    mode = {"L": 1, "RGB": 3, "CMYK": 4}[image.mode]
    if mode == 4:
        channels = 255 - channels  # full ink is 0
    head = struct.pack(">4sH6xHIIHH", b"8BPS", version, count, height, width, depth, mode)
    return head + bytes(12) + b"\0\0" + np.moveaxis(channels, 2, 0).tobytes()


def exif_block(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    return exif.tobytes().removeprefix(b"Exif\0\0")


# --- formats and modes ----------------------------------------------------------------------------

Case = tuple[bytes, Image.Image, float]


def formats() -> dict[str, Callable[[], Case]]:
    one_bit = PICTURE.convert("1")
    palette = PICTURE.quantize(64)
    hole = with_hole(PICTURE)
    doubled = np.asarray(PICTURE).astype(np.uint16)[:, :, ::-1] * 257
    grey = np.asarray(GREY)
    cases: dict[str, tuple[Callable[[], bytes], Image.Image, float]] = {
        "JPEG": (partial(encoded, PICTURE, "JPEG", quality=92), PICTURE, LOSSY),
        "JPEG 4:4:4": (partial(encoded, PICTURE, "JPEG", subsampling=0), PICTURE, LOSSY),
        "JPEG progressive": (
            partial(encoded, PICTURE, "JPEG", quality=92, progressive=True), PICTURE, LOSSY,
        ),
        "JPEG RGB": (partial(encoded, PICTURE, "JPEG", keep_rgb=True), PICTURE, LOSSY),
        "JPEG grey": (partial(encoded, GREY, "JPEG"), GREY, LOSSY),
        "JPEG CMYK": (partial(encoded, PICTURE.convert("CMYK"), "JPEG"), PICTURE, LOSSY),
        "PNG": (partial(encoded, PICTURE, "PNG"), PICTURE, LOSSLESS),
        "PNG grey": (partial(encoded, GREY, "PNG"), GREY, LOSSLESS),
        "PNG 16-bit grey": (partial(encoded, SIXTEEN_BITS, "PNG"), GREY, LOSSLESS),
        "PNG 16-bit RGB": (partial(written_by_opencv, doubled, ".png"), PICTURE, LOSSLESS),
        "PNG palette": (partial(encoded, palette, "PNG"), palette, LOSSLESS),
        "PNG alpha": (partial(encoded, hole, "PNG"), on_white(hole), LOSSLESS),
        "PNG 1-bit": (partial(encoded, one_bit, "PNG"), one_bit, LOSSLESS),
        "WebP": (partial(encoded, PICTURE, "WEBP", quality=90), PICTURE, LOSSY),
        "WebP lossless": (partial(encoded, PICTURE, "WEBP", lossless=True), PICTURE, LOSSLESS),
        "WebP alpha": (partial(encoded, hole, "WEBP", lossless=True), on_white(hole), LOSSLESS),
        "WebP animation": (partial(animation, "WEBP"), PICTURE, LOSSLESS),
        "TIFF": (partial(encoded, PICTURE, "TIFF"), PICTURE, LOSSLESS),
        "TIFF LZW": (partial(encoded, PICTURE, "TIFF", compression="tiff_lzw"), PICTURE, LOSSLESS),
        "TIFF JPEG": (partial(encoded, PICTURE, "TIFF", compression="jpeg"), PICTURE, LOSSY),
        "TIFF 16-bit grey": (partial(encoded, SIXTEEN_BITS, "TIFF"), GREY, LOSSLESS),
        "TIFF 16-bit RGB": (partial(written_by_opencv, doubled, ".tiff"), PICTURE, LOSSLESS),
        "TIFF 1-bit": (partial(encoded, one_bit, "TIFF"), one_bit, LOSSLESS),
        "TIFF CMYK": (partial(encoded, PICTURE.convert("CMYK"), "TIFF"), PICTURE, LOSSY),
        "TIFF float to 1": (
            partial(written_by_opencv, (grey / 255).astype(np.float32), ".tiff"), GREY, 1.0,
        ),
        "TIFF float to 255": (
            partial(written_by_opencv, grey.astype(np.float32), ".tiff"), GREY, LOSSLESS,
        ),
        "BMP": (partial(encoded, PICTURE, "BMP"), PICTURE, LOSSLESS),
        "GIF": (partial(encoded, palette, "GIF"), palette, LOSSLESS),
        "GIF animation": (partial(animation, "GIF"), PICTURE, 8.0),
        "AVIF": (partial(encoded, PICTURE, "AVIF", quality=90), PICTURE, LOSSY),
        "HEIC": (partial(encoded, PICTURE, "HEIF", quality=90), PICTURE, LOSSY),
        "HEIC grey": (partial(encoded, GREY, "HEIF", quality=90), GREY, LOSSY),
        "HEIC alpha": (partial(encoded, hole, "HEIF", quality=95), on_white(hole), LOSSY),
        "JPEG2000": (partial(encoded, PICTURE, "JPEG2000"), PICTURE, LOSSLESS),
        "JPEG2000 lossy": (
            partial(encoded, PICTURE, "JPEG2000", quality_layers=[8], irreversible=True),
            PICTURE, LOSSY,
        ),
        "JPEG2000 grey": (partial(encoded, GREY, "JPEG2000"), GREY, LOSSLESS),
        "JPEG2000 alpha": (partial(encoded, hole, "JPEG2000"), on_white(hole), LOSSLESS),
        "JPEG2000 alone": (partial(encoded, PICTURE, "JPEG2000", no_jp2=True), PICTURE, LOSSLESS),
        "PSD": (partial(psd, PICTURE), PICTURE, LOSSLESS),
        "PSD grey": (partial(psd, GREY), GREY, LOSSLESS),
        "PSD CMYK": (partial(psd, PICTURE.convert("CMYK")), PICTURE, LOSSLESS),
        "PPM": (partial(encoded, PICTURE, "PPM"), PICTURE, LOSSLESS),
        "PPM grey": (partial(encoded, GREY, "PPM"), GREY, LOSSLESS),
        "PPM 1-bit": (partial(encoded, one_bit, "PPM"), one_bit, LOSSLESS),
        "TGA": (partial(encoded, PICTURE, "TGA"), PICTURE, LOSSLESS),
        "TGA RLE": (partial(encoded, PICTURE, "TGA", compression="tga_rle"), PICTURE, LOSSLESS),
        "TGA of old": (lambda: encoded(PICTURE, "TGA")[:-26], PICTURE, LOSSLESS),
        "PCX": (partial(encoded, PICTURE, "PCX"), PICTURE, LOSSLESS),
        "SGI": (partial(encoded, PICTURE, "SGI"), PICTURE, LOSSLESS),
        "QOI": (partial(encoded, PICTURE, "QOI"), PICTURE, LOSSLESS),
    }  # fmt: skip
    made = {
        name: cast(Callable[[], Case], lambda make=make, ref=ref, most=most: (make(), ref, most))
        for name, (make, ref, most) in cases.items()
    }
    made["PNG palette with transparency"] = lambda: (*palette_with_transparency(), LOSSLESS)
    return {name: cache(make) for name, make in made.items()}


FORMATS = formats()


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_bgr(name: str) -> None:
    data, reference, most = FORMATS[name]()
    source = opened(data)
    assert (source.width, source.height, source.orientation) == (*PICTURE.size, 1)
    pixels = source.decode()
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    assert difference(pixels, bgr(reference)) <= most
    assert source.format == name.split()[0].lower()


def test_memory_views_are_read_like_bytes() -> None:
    data = encoded(PICTURE, "JPEG")
    assert (opened(cast(bytes, memoryview(data))).decode() == opened(data).decode()).all()


# --- orientation ----------------------------------------------------------------------------------

LOSSLESS_OPTIONS: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 95, "subsampling": 0},
    "PNG": {},
    "WEBP": {"lossless": True},
    "TIFF": {},
    "AVIF": {"quality": 95},
    "HEIF": {"quality": 95},
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", LOSSLESS_OPTIONS)
def test_every_orientation_is_upright(name: str, orientation: int) -> None:
    data = encoded(PICTURE, name, orientation, **LOSSLESS_OPTIONS[name])
    source = opened(data)
    assert (source.width, source.height) == PICTURE.size
    assert difference(source.decode(), bgr(PICTURE)) <= LOSSY


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_test_pictures_are_turned_as_pillow_understands_it(orientation: int) -> None:
    data = encoded(PICTURE, "PNG", orientation)
    assert difference(bgr(ImageOps.exif_transpose(Image.open(BytesIO(data)))), bgr(PICTURE)) == 0


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_reduced_pictures_are_upright(orientation: int, reduction: int) -> None:
    image = PICTURE.crop((0, 0, 160, 112))  # whole blocks, so that an average is what to expect
    pixels = opened(encoded(image, "JPEG", orientation, quality=95, subsampling=0)).decode(
        reduction
    )
    size = image.width // reduction, image.height // reduction
    reference = cv2.resize(bgr(image), size, interpolation=cv2.INTER_AREA)
    assert difference(pixels, cast(Pixels, reference)) <= LOSSY


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (9, 9), (9, 16), (17, 31), (640, 481)])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_every_reduction_rounds_up(size: tuple[int, int], reduction: int) -> None:
    source = opened(encoded(astronaut().resize(size), "JPEG"))
    width, height = size
    expected = (-(-height // reduction), -(-width // reduction), 3)
    assert source.decode(reduction).shape == expected


@pytest.mark.parametrize(
    ("share", "reduction"), [(2.0, 1), (1.0, 1), (0.51, 1), (0.5, 2), (0.25, 4), (0.1, 8)]
)
def test_the_strongest_reduction_that_keeps_enough(share: float, reduction: int) -> None:
    assert opened(encoded(PICTURE, "JPEG")).reduction_for(share) == reduction
    assert opened(encoded(PICTURE, "PNG")).reduction_for(share) == 1


JPEG_KINDS: dict[str, dict[str, Any]] = {
    "4:2:0": {"subsampling": "4:2:0"},
    "4:4:4": {"subsampling": "4:4:4"},
    "progressive": {"progressive": True},
    "restarts": {"restart_marker_blocks": 3},
    "progressive, 4:2:2, restarts": {
        "progressive": True, "subsampling": "4:2:2", "restart_marker_rows": 1,
    },
}  # fmt: skip


@pytest.mark.parametrize("name", JPEG_KINDS)
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_a_part_is_what_the_whole_has_there(name: str, orientation: int, reduction: int) -> None:
    picture = stored_turned(astronaut().crop((0, 0, 397, 301)), orientation)
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    source = opened(encoded(picture, "JPEG", exif=exif, **JPEG_KINDS[name]))
    whole = source.decode(reduction)
    less = 0
    for region in (
        Region(100, 90, 180, 170), Region(-50, -40, 60, 50), Region(350, 260, 450, 350),
        Region(0, 0, 397, 301),
    ):  # fmt: skip
        part, (x, y) = source.decode_around(region, reduction)
        less += part.size < whole.size
        left, top = (max(0, side) // reduction for side in region[:2])
        right = min(-(-region.right // reduction), whole.shape[1])
        bottom = min(-(-region.bottom // reduction), whole.shape[0])
        assert x <= left < right <= x + part.shape[1]
        assert y <= top < bottom <= y + part.shape[0]
        same = part[top - y : bottom - y, left - x : right - x] == whole[top:bottom, left:right]
        assert same.all()
    assert less >= 2


@pytest.mark.parametrize("subsampling", ["440", "411", "Gray"])
def test_a_part_of_a_jpeg_with_rare_units(subsampling: str) -> None:
    pixels = bgr(astronaut())
    if subsampling == "Gray":
        pixels = np.ascontiguousarray(pixels[..., :1])
    space = "GRAY" if subsampling == "Gray" else "BGR"
    source = opened(simplejpeg.encode_jpeg(pixels, 90, space, subsampling))
    part, origin = source.decode_around(Region(0, 0, 10, 100), 1)
    assert origin == (0, 0)
    assert 100 <= len(part) < len(pixels)
    assert (part[:100] == source.decode()[:100]).all()


def test_what_is_no_jpeg_is_decoded_whole() -> None:
    source = opened(encoded(PICTURE, "PNG"))
    part, origin = source.decode_around(Region(0, 0, 10, 10), 1)
    assert origin == (0, 0)
    assert (part == source.decode()).all()


def test_png_exif_behind_the_pixels_counts() -> None:
    data = encoded(stored_turned(PICTURE, 6), "PNG")
    end = data.rindex(b"IEND") - 4
    source = opened(data[:end] + png_chunk(b"eXIf", exif_block(6)) + data[end:])
    assert (source.width, source.height) == PICTURE.size
    assert difference(source.decode(), bgr(PICTURE)) == 0


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "HEIF"])
@pytest.mark.parametrize(
    "garbage", [b"no TIFF header", b"II*\0\xff\xff\xff\xff", exif_block(6)[:12], exif_block(77)],
    ids=["words", "astray", "cut", "77"],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:.*EXIF.*", "ignore:Truncated File Read")
def test_garbage_in_exif_leaves_the_picture_as_it_is(name: str, garbage: bytes) -> None:
    options = {**LOSSLESS_OPTIONS[name], "exif": b"Exif\0\0" + garbage}
    source = opened(encoded(PICTURE, name, **options))
    assert source.orientation == 1
    assert difference(source.decode(), bgr(PICTURE)) <= LOSSY


# --- harmless oddities ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "trailing", [b"\0" * 100, b"\0\0\0\x18ftypmp42 a film \xff\xda\xff\xda", b"\xff", b"text\n"]
)
def test_bytes_behind_a_jpeg_are_harmless(trailing: bytes) -> None:
    data = encoded(PICTURE, "JPEG", 6)
    assert (opened(data + trailing).decode() == opened(data).decode()).all()


@pytest.mark.parametrize("extra", [b"\xff\xff", b"\0\0\0\0", b"pad"])
def test_extra_bytes_between_segments_are_harmless(extra: bytes) -> None:
    data = encoded(PICTURE, "JPEG", 6)
    for marker in (b"\xff\xe1", b"\xff\xc0", b"\xff\xda"):
        at = data.index(marker)
        source = opened(data[:at] + extra + data[at:])
        assert (source.width, source.height) == PICTURE.size
        assert (source.decode() == opened(data).decode()).all()


# --- damage ---------------------------------------------------------------------------------------


def code_of(data: bytes, max_pixels: int = MAX_PIXELS) -> ImageErrorCode:
    with pytest.raises(ImageError) as caught:
        Source.open(data, max_pixels).decode()
    message = str(caught.value)
    assert message.endswith(".")
    assert "\n" not in message
    assert " at 0x" not in message  # the same damage gives the same row, on every machine
    return caught.value.code


DAMAGED = {ImageErrorCode.TRUNCATED_IMAGE, ImageErrorCode.CORRUPT_IMAGE}


@pytest.mark.parametrize("share", [0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99])
@pytest.mark.parametrize(
    "name", ["JPEG", "JPEG progressive", "JPEG CMYK", "PNG", "WebP", "GIF", "TIFF", "TIFF LZW",
             "BMP", "AVIF", "HEIC", "JPEG2000", "JPEG2000 alone", "PSD", "PPM", "PCX", "SGI",
             "QOI"],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:.*EXIF.*", "ignore:Truncated File Read")
def test_a_file_cut_short_fails(name: str, share: float) -> None:
    data, _, _ = FORMATS[name]()
    assert code_of(data[: int(len(data) * share)]) in DAMAGED


def test_a_jpeg_cut_anywhere_in_its_picture_is_truncated() -> None:
    thumbnail = encoded(PICTURE.resize((32, 24)), "JPEG")
    exif = b"\xff\xe1" + struct.pack(">H", 8 + len(thumbnail)) + b"Exif\0\0" + thumbnail
    data = encoded(PICTURE, "JPEG")
    data = data[:20] + exif + data[20:]
    scan = data.rindex(b"\xff\xda")
    opened(data).decode()
    film = b"ftypmp42" + np.random.default_rng(1).bytes(100_000) + b"\xff\xd9"
    for end in (scan + 20, (scan + len(data)) // 2, len(data) - 10):
        for behind in (b"", b"\xff\xd9", film):
            assert code_of(data[:end] + behind) is ImageErrorCode.TRUNCATED_IMAGE
    for end in range(3, scan, 97):  # its thumbnail's end marker is not the picture's
        assert code_of(data[:end]) in DAMAGED


def test_damage_behind_which_the_decoder_finds_its_way_is_no_end() -> None:
    data = bytearray(encoded(PICTURE, "JPEG", restart_marker_rows=1))
    whole = opened(bytes(data)).decode()
    third = data.index(b"\xff\xd2", data.rindex(b"\xff\xda")) + 12
    data[third : third + 2] = b"\xff\x9f"
    pixels = opened(bytes(data)).decode()
    assert np.array_equal(pixels[-16:], whole[-16:])
    assert not np.array_equal(pixels, whole)
    assert code_of(bytes(data[:-400])) is ImageErrorCode.TRUNCATED_IMAGE


def test_an_error_behind_a_warning_shows_nothing_of_the_memory() -> None:
    data = encoded(PICTURE, "JPEG", progressive=True)
    data = data[:-900] + b"\xff\x36 no such marker \xff\xd9"
    np.full((*PICTURE.size[::-1], 3), 77, np.uint8)  # freed: it would lie where pixels come next
    assert code_of(data) in DAMAGED


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_rows": 1}])
@pytest.mark.parametrize(
    "behind",
    [
        b"", b"\xff", bytes(510), b"Image_UTC_Data" + b"film" * 10_000, b"\xff\x36film",
        b"\xff\xd9\xff\x36film", b"\xff\xd9\xff\xd8\xff\xe0",
    ],
    ids=["nothing", "half", "zeros", "film", "marker", "film behind", "picture behind"],
)  # fmt: skip
@pytest.mark.parametrize("stray", [b"", b"\0\0\0"])
def test_a_jpeg_with_all_of_its_rows_is_whole(
    options: dict[str, Any], behind: bytes, stray: bytes
) -> None:
    data = encoded(PICTURE, "JPEG", **options)
    whole = opened(data).decode()
    changed = data[:20] + stray + data[20:-2] + behind
    for reduction in REDUCTIONS:
        right = opened(data).decode(reduction)
        assert np.array_equal(opened(changed).decode(reduction), right)
    region = Region(10, 5, 60, 40)
    source = opened(changed)
    source.decode(8)
    top, _ = source.decode_around(region, 1)
    assert np.array_equal(top[:40, :60], whole[:40, :60])


def test_what_was_in_the_way_of_a_whole_jpeg_is_told() -> None:
    data = encoded(PICTURE, "JPEG")
    told = {
        data: set(),
        data + b"film" * 999: set(),
        data[:-2]: {ImageWarning.END_MISSING},
        data[:-1]: {ImageWarning.END_MISSING},
        data[:-2] + bytes(510): {ImageWarning.DATA_BEHIND_END},
        data[:-2] + b"film" * 9999: {ImageWarning.DATA_BEHIND_END},
    }
    for changed, warnings in told.items():
        source = opened(changed)
        source.decode()
        assert source.warnings == warnings


@pytest.mark.parametrize(
    "name", ["JPEG", "PNG", "WebP", "GIF", "TIFF", "BMP", "AVIF", "HEIC", "JPEG2000", "PSD", "PPM",
             "TGA", "TGA RLE", "PCX", "SGI", "QOI"],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_random_damage_gives_a_picture_or_an_image_error(name: str) -> None:
    data, _, _ = FORMATS[name]()
    random = np.random.default_rng(7)
    for _ in range(25):
        damaged = bytearray(data)
        for at in random.integers(4, min(len(data), 600), 3):
            damaged[at] = random.integers(256)
        try:
            pixels = Source.open(bytes(damaged), 1_000_000).decode()
        except ImageError as error:
            assert error.code in set(ImageErrorCode) - {ImageErrorCode.EMPTY_FILE}  # noqa: PT017
        else:
            assert pixels.ndim == 3


def test_no_bytes_are_an_empty_file() -> None:
    assert code_of(b"") is ImageErrorCode.EMPTY_FILE


@pytest.mark.parametrize(
    "data",
    [b"Dear all,\nthe photographs follow.\n", b"\0" * 64, b"<!DOCTYPE html><svg/>", b"P3 plus"],
    ids=["text", "zeros", "page", "words"],
)  # fmt: skip
def test_other_files_are_not_images(data: bytes) -> None:
    assert code_of(data) is ImageErrorCode.NOT_AN_IMAGE


UNREAD = {
    "JPEG XL": b"\xff\x0a\xfa\x1f\x41",
    "JPEG XL in a container": b"\0\0\0\x0cJXL \r\n\x87\n\0\0\0\x14ftypjxl ",
    "JPEG XR": b"II\xbc\1\x20\0\0\0",
    "PSD of more than 8 bits": psd(PICTURE, depth=16),
    "PSB": psd(PICTURE, version=2),
    "XCF": b"gimp xcf v011\0",
    "ICO": encoded(PICTURE, "ICO", sizes=[(16, 16)]),
    "CUR": b"\0\0\2\0\1\0",
    "EXR": b"\x76\x2f\x31\x01\2\0\0\0",
    "HDR": b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n",
    "FLIF": b"FLIF31",
    "BPG": b"BPG\xfb\x20",
    "DICOM": bytes(128) + b"DICM\2\0\0\0",
    "PAM": b"P7\nWIDTH 2\n",
    "PDF": b"%PDF-1.7\n",
    "EPS": b"%!PS-Adobe-3.0 EPSF-3.0\n",
    "SVG": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    "SVG behind its head": b"\xef\xbb\xbf<?xml version='1.0'?>\n<!-- Inkscape -->\n<svg\nid='a'>",
    "MP4": b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + bytes(64),
    "MOV": b"\0\0\0\x14ftypqt  \0\0\2\0qt  ",
    "MOV, old": b"\0\0\7\x2cmoov\0\0\0\x6cmvhd",
    "AVI": b"RIFF\0\1\0\0AVI LIST",
    "Matroska": b"\x1a\x45\xdf\xa3\x01",
    "WMV": b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",
}


@pytest.mark.parametrize("name", UNREAD)
def test_a_known_format_that_is_not_read_is_named(name: str) -> None:
    with pytest.raises(ImageError, match="which Facecrop does not read") as caught:
        opened(UNREAD[name])
    assert caught.value.code is ImageErrorCode.UNSUPPORTED_FORMAT
    known = name.partition(",")[0].split()
    hidden = {"EXR": "OpenEXR", "CUR": "cursor", "MP4": "film", "MOV": "film"}
    assert hidden.get(known[0], known[0]) in str(caught.value)


# --- bombs ----------------------------------------------------------------------------------------


def huge_png() -> bytes:
    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(1 << 20))
    chunks = png_chunk(b"IHDR", header), png_chunk(b"IDAT", pixels), png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def huge_jpeg() -> bytes:
    data = bytearray(encoded(PICTURE, "JPEG"))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", 50_000, 50_000)
    return bytes(data)


def huge_gif() -> bytes:
    data = bytearray(encoded(PICTURE, "GIF"))
    data[6:10] = struct.pack("<HH", 50_000, 50_000)
    return bytes(data)


def huge_bmp() -> bytes:
    data = bytearray(encoded(PICTURE, "BMP"))
    data[18:26] = struct.pack("<ii", 50_000, 50_000)
    return bytes(data)


def huge_tiff() -> bytes:
    tags = {256: 50_000, 257: 50_000}  # width, height
    image = Image.new("L", (1, 1))
    file = BytesIO()
    image.save(file, "TIFF")
    data = bytearray(file.getvalue())
    (directory,) = struct.unpack_from("<I", data, 4)
    (entries,) = struct.unpack_from("<H", data, directory)
    for at in range(directory + 2, directory + 2 + 12 * entries, 12):
        (tag,) = struct.unpack_from("<H", data, at)
        if tag in tags:
            struct.pack_into("<HII", data, at + 2, 4, 1, tags[tag])
    return bytes(data)


@pytest.mark.parametrize("make", [huge_png, huge_jpeg, huge_gif, huge_bmp, huge_tiff])
def test_a_bomb_is_refused_by_its_header(
    make: Callable[[], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(_: ImageFile.ImageFile) -> None:
        raise AssertionError("decoded a picture that is too large")

    data = make()
    monkeypatch.setattr(ImageFile.ImageFile, "load", never)
    tracemalloc.start()
    code = code_of(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert code is ImageErrorCode.TOO_MANY_PIXELS
    assert peak < 1 << 20


def test_the_bound_on_pixels_is_exact() -> None:
    data = encoded(PICTURE, "PNG")
    pixels = PICTURE.width * PICTURE.height
    assert Source.open(data, pixels).decode().size == 3 * pixels
    assert code_of(data, pixels - 1) is ImageErrorCode.TOO_MANY_PIXELS

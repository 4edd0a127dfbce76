"""Files that are odd but legal, or wrong where no viewer minds: what browsers show is cropped."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from detection.codecs.decode import Source
from detection.codecs.sniff import sniff
from detection.errors import ImageError, ImageErrorCode, ImageWarning
from tests.pictures import astronaut, encoded

PICTURE = astronaut().crop((150, 20, 311, 137))
RGB = np.asarray(PICTURE)
GREY = np.asarray(PICTURE.convert("L"))
PNG = encoded(PICTURE, "PNG")
Pixels = NDArray[Any]


def check(data: bytes, most: float = 0.5, warnings: frozenset[ImageWarning] = frozenset()) -> None:
    source = Source.open(data, 10**6)
    pixels = source.decode()
    assert (source.width, source.height) == PICTURE.size
    assert source.warnings == warnings
    assert np.abs(pixels[..., ::-1].astype(int) - RGB).mean() <= most


def code_of(data: bytes) -> ImageErrorCode:
    with pytest.raises(ImageError) as caught:
        Source.open(data, 10**6).decode()
    return caught.value.code


# --- PNG ------------------------------------------------------------------------------------------

DAMAGED = frozenset({ImageWarning.DAMAGED_DATA})
GUESSED = frozenset({ImageWarning.BITS_GUESSED})
ANCILLARY = {
    b"iCCP": b"x\0\0notzlib", b"pHYs": bytes(9), b"tIME": bytes(7), b"tEXt": b"a\0b",
    b"zTXt": b"a\0\0x", b"iTXt": b"a\0\0\0\0\0b", b"eXIf": b"MM\0*", b"gAMA": bytes(4),
    b"cHRM": bytes(32), b"sRGB": b"\0", b"sBIT": b"\1\1\1", b"bKGD": bytes(6), b"tRNS": bytes(6),
    b"acTL": bytes(8), b"zzZz": b"abc",
}  # fmt: skip


def chunk(kind: bytes, content: bytes, *, right: bool = True) -> bytes:
    checksum = zlib.crc32(kind + content) ^ (0 if right else 0x55)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


@pytest.mark.parametrize("kind", ANCILLARY)
@pytest.mark.parametrize("place", ["before", "behind"])
def test_an_ancillary_chunk_with_a_wrong_checksum_is_passed_over(kind: bytes, place: str) -> None:
    at = 33 if place == "before" else len(PNG) - 12
    check(PNG[:at] + chunk(kind, ANCILLARY[kind], right=False) + PNG[at:], 0, DAMAGED)


def test_a_wrong_checksum_of_what_matters() -> None:
    at = PNG.index(b"IDAT") - 4
    (length,) = struct.unpack_from(">I", PNG, at)
    wrong = bytearray(PNG)
    wrong[at + 8 + length] ^= 0x55
    check(bytes(wrong), 0, DAMAGED)  # all rows are there
    wrong[at + 8 + length // 2] ^= 0x55
    assert code_of(bytes(wrong)) in {ImageErrorCode.CORRUPT_IMAGE, ImageErrorCode.TRUNCATED_IMAGE}
    header = bytearray(PNG)
    header[29] ^= 1
    assert code_of(bytes(header)) is ImageErrorCode.CORRUPT_IMAGE
    palette = PNG[:33] + chunk(b"PLTE", bytes(9), right=False) + PNG[33:]
    assert code_of(palette) is ImageErrorCode.CORRUPT_IMAGE


def png16(samples: Pixels, *extra: bytes) -> bytes:
    count = samples.shape[2] if samples.ndim == 3 else 1
    header = struct.pack(">IIBBBBB", *PICTURE.size, 16, {1: 0, 2: 4, 3: 2, 4: 6}[count], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    body = [
        chunk(b"IHDR", header),
        *extra,
        chunk(b"IDAT", zlib.compress(rows)),
        chunk(b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


def check_grey(data: bytes, warnings: frozenset[ImageWarning]) -> None:
    source = Source.open(data, 10**6)
    pixels = source.decode().astype(int)
    assert source.warnings == warnings
    assert np.abs(pixels - GREY[..., None]).mean() <= 0.5


@pytest.mark.parametrize("bits", [9, 10, 12, 14, 16])
@pytest.mark.parametrize("alpha", [False, True], ids=["opaque", "alpha"])
def test_png_samples_that_use_fewer_bits(bits: int, alpha: bool) -> None:
    warnings = GUESSED if bits < 16 else frozenset()
    opaque = [np.full(GREY.shape, 65535)] if alpha else []
    scale = ((1 << bits) - 1) / 255
    check(png16(np.dstack([np.rint(RGB * scale), *opaque])), 1, warnings)
    check_grey(png16(np.dstack([np.rint(GREY * scale), *opaque])), warnings)


def test_significant_bits_are_no_guess() -> None:
    said = chunk(b"sBIT", b"\x0c\x0c\x0c")
    check(png16(np.rint(RGB * (4095 / 255)), said), 1)
    check(png16(RGB * 257.0, said), 0)  # in the upper bits, as the book has it


def test_a_dark_16_bit_png_with_holes() -> None:
    alpha = np.full(GREY.shape, 65535)
    alpha[:20] = 0
    source = Source.open(png16(np.dstack([np.rint(RGB * (4095 / 255)), alpha])), 10**6)
    pixels = source.decode()
    assert (pixels[:20] == 255).all()
    assert np.abs(pixels[20:, :, ::-1].astype(int) - RGB[20:]).mean() <= 1


# --- animations -----------------------------------------------------------------------------------

WHITE, BLACK = (Image.new("RGB", PICTURE.size, colour) for colour in ("white", "black"))


@pytest.mark.parametrize("name", ["GIF", "WEBP", "PNG", "AVIF"])
def test_the_first_frame_that_is_not_blank(name: str) -> None:
    options: dict[str, Any] = {"save_all": True, "lossless": True, "quality": 100}
    data = encoded(WHITE, name, append_images=[BLACK, PICTURE, WHITE], **options)
    check(data, 8)
    blank = encoded(WHITE, name, append_images=[BLACK, WHITE], **options)
    source = Source.open(blank, 10**6)
    assert (source.decode() > 250).all()
    assert source.pages is None


def test_a_frame_past_the_canvas_makes_it_no_larger() -> None:
    data = bytearray(encoded(WHITE, "GIF", save_all=True, append_images=[BLACK]))
    [*_, second] = (at for at in range(len(data)) if data[at : at + 5] == b",\0\0\0\0")
    data[second + 3 : second + 5] = struct.pack("<H", 60_000)  # its top
    source = Source.open(bytes(data), 10**6)
    assert source.decode().shape == (*WHITE.size[::-1], 3)


def test_blank_frames_without_end_are_not_all_looked_at() -> None:
    frames = [Image.new("RGB", (160, 120), (one, 0, 0)) for one in range(60)]
    data = encoded(frames[0], "GIF", save_all=True, append_images=[*frames[1:], PICTURE])
    assert not Source.open(data, 10**6).decode().any()


def test_transparent_frames_are_blank() -> None:
    clear = Image.new("RGBA", PICTURE.size, (0, 0, 0, 0))
    options: dict[str, Any] = {"save_all": True, "append_images": [PICTURE.convert("RGBA")]}
    check(encoded(clear, "WEBP", lossless=True, **options), 0)


# --- WebP, JPEG -----------------------------------------------------------------------------------


@pytest.mark.parametrize("said", [0, 50, 10**6], ids=["none", "less", "more"])
@pytest.mark.parametrize("extended", [False, True])
def test_a_webp_that_does_not_know_its_length(said: int, extended: bool) -> None:
    more: dict[str, Any] = {"icc_profile": b"x" * 99} if extended else {}
    data = encoded(PICTURE, "WEBP", lossless=True, **more)
    check(data[:4] + struct.pack("<I", said) + data[8:], 0)
    check(data[:4] + struct.pack("<I", said) + data[8:] + b"junk" * 9, 0)
    cut = data[: len(data) // 2]
    assert code_of(cut) in {ImageErrorCode.CORRUPT_IMAGE, ImageErrorCode.TRUNCATED_IMAGE}


@pytest.mark.parametrize("junk", [b"\r\n", b"\xef\xbb\xbf", b"\xff" * 5, b"\0" * 32])
def test_bytes_in_front_of_a_jpeg(junk: bytes) -> None:
    check(junk + encoded(PICTURE, "JPEG", quality=92), 4)


def test_a_song_with_a_cover_is_no_image() -> None:
    tag = b"ID3\3\0\0\0\0\0\x7fAPIC\0\0\0\x7f\0\0\0image/jpeg\0\3\0"
    assert sniff(tag + encoded(PICTURE, "JPEG")) is None


@pytest.mark.parametrize("bits", [12, 16])
@pytest.mark.parametrize("frame", [0xC0, 0xC1, 0xC3])
def test_deep_jpegs_are_not_called_damaged(bits: int, frame: int) -> None:
    data = bytearray(encoded(PICTURE, "JPEG"))
    start = data.index(b"\xff\xc0")
    data[start + 1], data[start + 4] = frame, bits
    with pytest.raises(ImageError, match=f"{bits} bits") as caught:
        Source.open(bytes(data), 10**6).decode()
    assert caught.value.code is ImageErrorCode.UNSUPPORTED_FORMAT


@pytest.mark.parametrize(("frame", "said"), [(0xF7, "JPEG-LS"), (0xC5, "hierarchical")])
def test_other_jpegs_are_named(frame: int, said: str) -> None:
    data = encoded(PICTURE, "JPEG").replace(b"\xff\xc0", bytes([0xFF, frame]), 1)
    with pytest.raises(ImageError, match=said) as caught:
        Source.open(data, 10**6).decode()
    assert caught.value.code is ImageErrorCode.UNSUPPORTED_FORMAT


# --- BMP ------------------------------------------------------------------------------------------


def bmp(
    bits: int, kind: int, masks: tuple[int, ...], rows: Pixels, size: int = 40, up: bool = True,
    reserved: bytes = b"\1\0\2\0",
) -> bytes:  # fmt: skip
    pixels = (rows[::-1] if up else rows).tobytes()
    height = PICTURE.height if up else -PICTURE.height
    header = struct.pack("<IiiHHIIiiII", size, PICTURE.width, height, 1, bits, kind, 0, 0, 0, 0, 0)
    header = (header + struct.pack(f"<{len(masks)}I", *masks)).ljust(size, b"\0")
    start = 14 + len(header)
    return b"BM" + struct.pack("<I4sI", start + len(pixels), reserved, start) + header + pixels


def words(shifts: tuple[int, ...], bits: int, dtype: str, alpha: int = 0) -> Pixels:
    found = np.full(GREY.shape, alpha, "u4")
    for place, shift in enumerate(shifts):
        found |= (RGB[..., place].astype("u4") << 8 >> (16 - bits)) << shift
    even = np.pad(found, ((0, 0), (0, PICTURE.width % 2)))
    return even.astype(dtype) if dtype == "<u2" else found.astype(dtype)


@pytest.mark.parametrize("up", [True, False])
@pytest.mark.parametrize("size", [40, 52, 56, 108, 124])
@pytest.mark.parametrize("kind", [3, 6], ids=["bits", "alpha bits"])
def test_bitmaps_say_where_their_colours_are(kind: int, size: int, up: bool) -> None:
    masks = 0xFF0000, 0xFF00, 0xFF, 0xFF000000
    rows = words((16, 8, 0), 8, "<u4", alpha=0xFF000000)
    check(bmp(32, kind, masks, rows, size, up), 0)
    swapped = 0xFF, 0xFF00, 0xFF0000, 0
    check(bmp(32, kind, swapped, words((0, 8, 16), 8, "<u4"), size, up), 0)
    ten = 0x3FF00000, 0xFFC00, 0x3FF, 0
    check(bmp(32, kind, ten, words((20, 10, 0), 10, "<u4"), size, up), 1)
    four = 0xF00, 0xF0, 0xF, 0
    check(bmp(16, kind, four, words((8, 4, 0), 4, "<u2"), size, up), 8)


def test_a_bitmap_cut_short() -> None:
    data = bmp(32, 3, (0xFF0000, 0xFF00, 0xFF), words((16, 8, 0), 8, "<u4"))
    assert code_of(data[:-5000]) is ImageErrorCode.TRUNCATED_IMAGE


def test_a_bitmap_is_known_by_its_header() -> None:
    data = encoded(PICTURE, "BMP")
    check(data[:6] + b"\1\2\3\4" + data[10:], 0)
    assert sniff(b"BM or not BM, that is a text, and long enough for a header") is None
    assert sniff(b"BM") is None


def test_a_bitmap_that_holds_a_jpeg_is_not_called_damaged() -> None:
    data = bmp(0, 4, (), GREY)
    assert code_of(data) is ImageErrorCode.UNSUPPORTED_FORMAT

"""Crops have the colours that the image's profile says, whatever file it stands in."""

from __future__ import annotations

import contextlib
import json
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps

from detection.codecs.colour import stated_profile
from detection.codecs.decode import Source
from detection.codecs.icc import ProfileError, is_srgb
from detection.codecs.sniff import Format
from detection.colours import CropColours
from detection.crop import encode
from detection.detectors.yunet import Yunet
from detection.errors import ImageWarning
from detection.image import crop_faces
from detection.options import MOST_PROFILE_BYTES, ImageFormat
from detection.settings import CutSettings, DetectionSettings
from tests.colours import (
    ADOBE,
    DISPLAY_P3,
    P3,
    PROPHOTO,
    SPACES,
    SRGB,
    Space,
    bmp_with,
    cmyk_profile,
    grey_profile,
    in_space,
    jp2_with,
    picture,
    png_with,
    profile,
    psd_with,
    segments_of,
)
from tests.detection.test_decode import psd
from tests.pictures import astronaut, bgr, encoded

ROOT = Path(__file__).resolve().parents[2]
MAX_PIXELS = 10_000_000
CLOSE = 2.0  # mean absolute difference, of 255
LOSSLESS_JPEG: dict[str, Any] = {"quality": 98, "subsampling": 0}

Pixels = NDArray[np.uint8]


def cropped(data: bytes, *, keep: bool = False) -> tuple[Pixels, CropColours, set[ImageWarning]]:
    """All of a picture, as a crop would come out."""
    source = Source.open(data, MAX_PIXELS)
    pixels = source.decode()
    colours = CropColours(source, keep=keep)
    return colours.of(pixels), colours, source.warnings


def distance(pixels: Pixels, image: Image.Image) -> float:
    return float(np.abs(pixels.astype(int) - bgr(image)).mean())


def right(data: bytes, image: Image.Image, most: float = CLOSE) -> None:
    pixels, _, warnings = cropped(data)
    assert distance(pixels, image) <= most
    assert not warnings


def doubtful(data: bytes, *, keep: bool = False) -> None:
    """Left as it is, and said so."""
    pixels, colours, warnings = cropped(data, keep=keep)
    assert warnings == {ImageWarning.COLOUR_PROFILE_UNKNOWN}
    assert np.array_equal(pixels, Source.open(data, MAX_PIXELS).decode())
    assert colours.embedded is None


def by_pillow(image_format: str, **options: Any) -> Callable[[Image.Image, bytes], bytes]:
    return lambda image, icc: encoded(image, image_format, icc_profile=icc, **options)


FORMATS: dict[str, Callable[[Image.Image, bytes], bytes]] = {
    "JPEG": by_pillow("JPEG", **LOSSLESS_JPEG),
    "JPEG progressive": by_pillow("JPEG", progressive=True, **LOSSLESS_JPEG),
    "PNG": by_pillow("PNG"),
    "WebP": by_pillow("WEBP", lossless=True),
    "TIFF": by_pillow("TIFF"),
    "TIFF, big": by_pillow("TIFF", big_tiff=True),
    "AVIF": by_pillow("AVIF", quality=98, subsampling="4:4:4"),
    "HEIC": by_pillow("HEIF", quality=98, chroma=444),
    "JP2": lambda image, icc: jp2_with(encoded(image, "JPEG2000"), icc),
    "BMP": bmp_with,
    "PSD": lambda image, icc: psd_with(psd(image), icc),
}


@pytest.mark.parametrize("version", [2, 4])
@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_converted(name: str, space: str, version: Any) -> None:
    theirs = in_space(picture(), SPACES[space])
    data = FORMATS[name](theirs, profile(SPACES[space], version))
    assert distance(Source.open(data, MAX_PIXELS).decode(), picture()) > 2 * CLOSE
    right(data, picture())


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("name", FORMATS)
def test_a_profile_that_makes_no_sense_leaves_the_crop_as_it_is(name: str, keep: bool) -> None:
    good = profile(P3)
    for bad in (b"no profile" * 20, good[:80], good[:200], good[:128] + bytes(400)):
        doubtful(FORMATS[name](picture(), bad), keep=keep)
    if name not in ("TIFF", "TIFF, big", "PSD", "JP2"):  # which may be of inks
        doubtful(FORMATS[name](picture(), cmyk_profile()), keep=keep)


@pytest.mark.parametrize("name", FORMATS)
def test_srgb_is_recognised_and_left_alone(name: str) -> None:
    theirs = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for icc in (theirs, profile(SRGB)):
        data = FORMATS[name](picture(), icc)
        pixels, _, warnings = cropped(data)
        assert np.array_equal(pixels, Source.open(data, MAX_PIXELS).decode())
        assert not warnings


def test_what_is_not_srgb_is_not_taken_for_it() -> None:
    assert is_srgb(profile(SRGB))
    for space in (P3, ADOBE, PROPHOTO, Space(SRGB.primaries, 1.8)):
        named = profile(space).replace(b"by hand", b"sRGB v2")
        assert not is_srgb(named)
    assert not is_srgb(grey_profile(1.2))


def test_srgb_needs_no_colour_management() -> None:
    script = (
        "import json, sys\n"
        "from detection.image import crop_faces, make_detector\n"
        "from detection.settings import CutSettings, DetectionSettings\n"
        "settings = DetectionSettings()\n"
        "data = sys.stdin.buffer.read()\n"
        "image = crop_faces(data, make_detector(settings), settings, CutSettings(), 10**7)\n"
        "print(json.dumps([len(image.crops), 'PIL' in sys.modules]))"
    )
    for space, imported in ((SRGB, False), (P3, True)):
        data = encoded(astronaut(), "JPEG", icc_profile=profile(space))
        done = subprocess.run(
            [sys.executable, "-P", "-c", script],
            cwd=ROOT, input=data, capture_output=True, check=True,
        )  # fmt: skip
        assert json.loads(done.stdout) == [1, imported]


# --- JPEG -----------------------------------------------------------------------------------------


def with_segments(data: bytes, *segments: bytes) -> bytes:
    return data[:2] + b"".join(segments) + data[2:]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_segments_of_a_jpeg_in_any_order(order: tuple[int, ...]) -> None:
    data = encoded(in_space(picture(), P3), "JPEG", **LOSSLESS_JPEG)
    parts = segments_of(profile(P3, padding=120_000), 3)
    right(with_segments(data, *(parts[at] for at in order)), picture())
    right(with_segments(data, *(parts[at] for at in order), parts[order[0]]), picture())


def test_a_segment_of_a_jpeg_that_is_missing() -> None:
    data = encoded(picture(), "JPEG")
    parts = segments_of(profile(P3, padding=120_000), 3)
    doubtful(with_segments(data, parts[0], parts[2]))
    doubtful(with_segments(data, parts[1], parts[2]))
    doubtful(with_segments(data, b"\xff\xe2\0\x0eICC_PROFILE\0"))


def exif_of(index: bytes, space: int, order: str) -> bytes:
    """Exif with a colour space and an index of interoperability."""
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 8)
    first = struct.pack(order + "HHHIII", 1, 0x8769, 4, 1, 26, 0)
    details = struct.pack(order + "HHHIHxxHHIII", 2, 0xA001, 3, 1, space, 0xA005, 4, 1, 56, 0)
    return head + first + details + struct.pack(order + "HHHI4sI", 1, 1, 2, 4, index, 0)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP"])
def test_adobe_rgb_that_exif_alone_tells(image_format: str, order: str) -> None:
    options = {"JPEG": LOSSLESS_JPEG, "WEBP": {"lossless": True}}.get(image_format, {})
    theirs = in_space(picture(), ADOBE)
    for index, space in ((b"R03\0", 0xFFFF), (b"R98\0", 2)):
        exif = b"Exif\0\0" + exif_of(index, space, order)
        right(encoded(theirs, image_format, exif=exif, **options), picture())
        # a profile says more
        with_both = encoded(
            picture(), image_format, exif=exif, icc_profile=profile(SRGB), **options
        )
        right(with_both, picture())
    plain = b"Exif\0\0" + exif_of(b"R98\0", 1, order)
    right(encoded(picture(), image_format, exif=plain, **options), picture())


# --- PNG ------------------------------------------------------------------------------------------


def gamma_chunk(gamma: float) -> tuple[bytes, bytes]:
    return b"gAMA", struct.pack(">I", round(100_000 / gamma))


def chromaticities(space: Space) -> tuple[bytes, bytes]:
    pairs = (space.white, *space.primaries)
    return b"cHRM", struct.pack(">8I", *(round(value * 100_000) for one in pairs for value in one))


P3_POINTS = (b"cICP", bytes([12, 13, 0, 1]))


def test_a_png_s_gamma_and_chromaticities() -> None:
    for space in (P3, ADOBE, PROPHOTO):
        data = encoded(in_space(picture(), space), "PNG")
        right(png_with(data, gamma_chunk(space.gamma), chromaticities(space)), picture())
    linear = Space(SRGB.primaries, 1.0)
    right(png_with(encoded(in_space(picture(), linear), "PNG"), gamma_chunk(1.0)), picture(), 4.0)


def test_a_png_that_says_srgb_in_other_words() -> None:
    data = encoded(picture(), "PNG")
    usual = gamma_chunk(2.2), chromaticities(SRGB)
    for chunks in (usual, usual[:1], (chromaticities(P3),), ((b"sRGB", b"\0"), gamma_chunk(1.0))):
        pixels, _, warnings = cropped(png_with(data, *chunks))
        assert np.array_equal(pixels, bgr(picture()))
        assert not warnings


def test_the_order_of_a_png_s_words() -> None:
    iccp = b"iCCP", b"name\0\0" + zlib.compress(profile(P3))
    theirs = encoded(in_space(picture(), P3), "PNG")
    right(png_with(theirs, gamma_chunk(1.0), (b"sRGB", b"\0"), iccp), picture())
    srgb = b"iCCP", b"name\0\0" + zlib.compress(profile(SRGB))
    right(png_with(encoded(in_space(picture(), DISPLAY_P3), "PNG"), srgb, P3_POINTS), picture())


def test_a_png_s_profile_that_is_damaged() -> None:
    data = encoded(picture(), "PNG")
    doubtful(png_with(data, (b"iCCP", b"name\0\0 this is not deflated")))
    doubtful(png_with(data, (b"iCCP", b"name")))
    good = bytearray(png_with(data, (b"iCCP", b"name\0\0" + zlib.compress(profile(P3)))))
    good[good.index(b"iCCP") + 30] ^= 1  # its checksum does not fit any more
    pixels, _, warnings = cropped(bytes(good))
    assert np.array_equal(pixels, bgr(picture()))
    assert warnings
    bomb = zlib.compress(profile(P3) + bytes(MOST_PROFILE_BYTES))
    doubtful(png_with(data, (b"iCCP", b"name\0\0" + bomb)))
    doubtful(png_with(data, gamma_chunk(2.2), (b"cHRM", bytes(32))))


# --- code points ----------------------------------------------------------------------------------


def with_code_points(image_format: str, image: Image.Image, points: tuple[int, int]) -> bytes:
    if image_format == "HEIF":
        return encoded(
            image, "HEIF", quality=98, chroma=444, save_nclx_profile=True, matrix_coefficients=6,
            color_primaries=points[0], transfer_characteristics=points[1],
        )  # fmt: skip
    data = bytearray(encoded(image, "AVIF", quality=98, subsampling="4:4:4"))
    struct.pack_into(">HH", data, data.index(b"colrnclx") + 8, *points)
    return bytes(data)


@pytest.mark.parametrize("image_format", ["AVIF", "HEIF"])
def test_code_points_of_avif_and_heic(image_format: str) -> None:
    right(with_code_points(image_format, in_space(picture(), DISPLAY_P3), (12, 13)), picture())
    wide = Space(((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)), 2.2)
    right(with_code_points(image_format, in_space(picture(), wide), (9, 4)), picture())
    for same in ((1, 13), (2, 2), (1, 1)):
        data = with_code_points(image_format, picture(), same)
        pixels, _, warnings = cropped(data)
        assert np.array_equal(pixels, Source.open(data, MAX_PIXELS).decode())
        assert not warnings


def test_high_dynamic_range_is_shown_with_its_white_as_white() -> None:
    for points, white in (((9, 16), 0.5807), ((9, 18), 0.75)):  # of 203 cd/m2: BT.2408, table 1
        grey = Image.new("RGB", (64, 64), (round(white * 255),) * 3)
        pixels, _, _ = cropped(png_with(encoded(grey, "PNG"), (b"cICP", bytes([*points, 0, 1]))))
        assert pixels.min() >= 248
        dark = Image.new("RGB", (64, 64), "black")
        pixels, _, _ = cropped(png_with(encoded(dark, "PNG"), (b"cICP", bytes([*points, 0, 1]))))
        assert pixels.max() == 0


# --- grey, CMYK, L*a*b* ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["JPEG", "PNG", "TIFF", "WebP", "PSD"])
def test_a_grey_profile(name: str) -> None:
    grey = picture().convert("L")
    gamma = Space(SRGB.primaries, 1.4)
    theirs = in_space(grey, gamma).convert("RGB" if name == "WebP" else "L")
    data = FORMATS[name](theirs, grey_profile(1.4))
    right(data, grey)
    pixels, colours, _ = cropped(data, keep=True)  # a crop of three channels cannot carry it
    assert distance(pixels, grey) <= CLOSE
    assert colours.embedded is None


def test_a_grey_picture_with_a_profile_of_colours() -> None:
    grey = picture().convert("L")
    theirs = in_space(grey, PROPHOTO).convert("L")
    right(encoded(theirs, "JPEG", icc_profile=profile(PROPHOTO), **LOSSLESS_JPEG), grey)


def test_a_picture_of_colours_with_a_grey_profile() -> None:
    doubtful(encoded(picture(), "JPEG", icc_profile=grey_profile(1.4)))


INKS = {(1, 0, 0, 0): "red", (0, 1, 0, 0): "#00ff00", (0, 0, 1, 0): "blue", (0, 0, 0, 1): "black"}


def printed() -> tuple[Image.Image, Image.Image]:
    """Patches of one ink each, in CMYK and as `cmyk_profile` prints them."""
    inks, colours = Image.new("CMYK", (160, 32)), Image.new("RGB", (160, 32), "white")
    for at, (ink, colour) in enumerate(INKS.items()):
        inks.paste(tuple(255 * value for value in ink), (at * 32, 0, at * 32 + 32, 32))
        colours.paste(colour, (at * 32, 0, at * 32 + 32, 32))
    return inks, colours


def test_cmyk_goes_through_its_profile() -> None:
    inks, colours = printed()
    jpeg = encoded(inks, "JPEG", icc_profile=cmyk_profile(), **LOSSLESS_JPEG)
    tiff = encoded(inks, "TIFF", icc_profile=cmyk_profile())
    for data in (jpeg, without_adobe(jpeg), tiff, psd_with(psd(inks), cmyk_profile())):
        right(data, colours, 4.0)
        _, kept, _ = cropped(data, keep=True)
        assert kept.embedded is None
        assert distance(cropped(data, keep=True)[0], colours) <= 4.0


def without_adobe(data: bytes) -> bytes:
    at = data.index(b"\xff\xee")
    return data[:at] + data[at + 2 + int.from_bytes(data[at + 2 : at + 4], "big") :]


def test_cmyk_without_a_profile_is_as_inks_are_called() -> None:
    inks = picture().convert("CMYK")
    jpeg = encoded(inks, "JPEG", **LOSSLESS_JPEG)
    for data in (jpeg, without_adobe(jpeg), encoded(inks, "TIFF"), psd(inks)):
        right(data, picture())


def test_ycck_is_cmyk_in_other_words() -> None:
    y, cb, cr = ImageOps.invert(picture()).convert("YCbCr").split()
    stored = Image.merge("CMYK", (y, cb, cr, Image.new("L", y.size, 255)))
    # Pillow writes CMYK inverted, and without another transform
    inverted = Image.merge("CMYK", [ImageOps.invert(band) for band in stored.split()])
    data = bytearray(encoded(inverted, "JPEG", **LOSSLESS_JPEG))
    data[data.index(b"Adobe") + 11] = 2
    right(bytes(data), picture())


def test_inks_with_a_profile_of_colours() -> None:
    inks = picture().convert("CMYK")
    for data in (
        encoded(inks, "JPEG", icc_profile=profile(PROPHOTO)),
        encoded(inks, "TIFF", icc_profile=profile(PROPHOTO)),
        encoded(inks, "JPEG", icc_profile=b"no profile"),
    ):
        doubtful(data)


def test_lab() -> None:
    srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    image = ImageCms.profileToProfile(picture(), srgb, lab, outputMode="LAB")
    assert image is not None
    right(encoded(image, "TIFF"), picture())


# --- crops ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("image_format", ["jpg", "png", "webp"])
@pytest.mark.parametrize("space", [P3, SRGB])
def test_kept_colours_have_their_profile(image_format: ImageFormat, space: Space) -> None:
    icc = profile(space, padding=100_000)
    image = picture() if space is SRGB else in_space(picture(), space)
    data = encoded(image, "PNG", icc_profile=icc)
    pixels, colours, warnings = cropped(data, keep=True)
    assert np.array_equal(pixels, bgr(image))
    assert not warnings
    file = encode(pixels, image_format, 95, colours.embedded)
    plain = encode(pixels, image_format, 95)
    with Image.open(BytesIO(file)) as crop, Image.open(BytesIO(plain)) as other:
        assert crop.info["icc_profile"] == icc
        assert np.array_equal(np.asarray(crop), np.asarray(other))
    assert "icc_profile" not in other.info
    if space is P3:  # what comes out is a picture that means the same
        right(file, picture(), 4.0)


def test_words_other_than_a_profile_are_kept_as_one() -> None:
    data = png_with(encoded(in_space(picture(), DISPLAY_P3), "PNG"), P3_POINTS)
    pixels, colours, _ = cropped(data, keep=True)
    right(encode(pixels, "png", 95, colours.embedded), picture())


def test_a_profile_too_large_to_embed_is_not() -> None:
    large = profile(P3, padding=MOST_PROFILE_BYTES)
    doubtful(encoded(picture(), "TIFF", icc_profile=large), keep=True)


def test_faces_are_found_in_what_is_stored_and_crops_have_the_right_colours() -> None:
    detection = DetectionSettings()
    yunet = Yunet(0.7, 0.3)
    data = encoded(in_space(astronaut(), PROPHOTO), "PNG", icc_profile=profile(PROPHOTO))
    png = CutSettings(format="png")

    def one(file: bytes, cut: CutSettings) -> tuple[Image.Image, Any]:
        image = crop_faces(file, yunet, detection, cut, MAX_PIXELS)
        return Image.open(BytesIO(image.crops[0].data)), image.crops[0].square

    expected, square = one(encoded(astronaut(), "PNG"), png)
    found, where = one(data, png)
    assert abs(where.x - square.x) + abs(where.y - square.y) < 20
    left, top = np.asarray(expected).mean(axis=(0, 1)), np.asarray(found).mean(axis=(0, 1))
    assert np.abs(left - top).max() < 6
    assert "icc_profile" not in found.info
    kept, _ = one(data, CutSettings(format="png", color="keep"))
    assert kept.info["icc_profile"] == profile(PROPHOTO)
    assert np.abs(np.asarray(kept).mean(axis=(0, 1)) - left).max() > 10


# --- what anybody may hand in ---------------------------------------------------------------------


@given(st.data())
def test_no_damage_makes_the_reading_of_colours_raise(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(DAMAGED)))
    kind, whole = DAMAGED[name]
    damaged = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    file = bytes(damaged[: data.draw(st.integers(0, len(damaged)))])
    with contextlib.suppress(ProfileError):
        stated_profile(file, kind)


@given(st.integers(0, 600), st.binary(min_size=1, max_size=8), st.sampled_from([2, 4]))
def test_no_damage_to_a_profile_makes_it_raise(at: int, damage: bytes, version: Any) -> None:
    good = profile(SRGB if at % 2 else P3, version)
    bad = good[:at] + damage + good[at + len(damage) :]
    pixels, _, warnings = cropped(encoded(SMALL, "PNG", icc_profile=bad))
    assert pixels.shape == (8, 8, 3)
    assert warnings <= {ImageWarning.COLOUR_PROFILE_UNKNOWN}


SMALL = picture().resize((8, 8))
DAMAGED: dict[str, tuple[Format, bytes]] = {
    name: (
        cast(Format, {"JP2": "jpeg2000"}.get(name, name.split()[0].lower())),
        FORMATS[name](SMALL, profile(P3)),
    )
    for name in ("JPEG", "PNG", "WebP", "TIFF", "AVIF", "HEIC", "JP2", "BMP", "PSD")
}
DAMAGED["code points"] = "avif", with_code_points("AVIF", SMALL, (12, 13))
DAMAGED["Exif"] = "jpeg", encoded(SMALL, "JPEG", exif=b"Exif\0\0" + exif_of(b"R03\0", 2, "<"))

"""TIFFs of every depth, and which of their pictures is taken."""

from __future__ import annotations

import lzma
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import zstandard
from numpy.typing import NDArray

from detection.codecs.decode import Source
from detection.errors import ImageError, ImageErrorCode, ImageWarning
from tests.detection.tiffs import Page, layout, tiff
from tests.pictures import astronaut, encoded

PICTURE = astronaut().crop((150, 20, 311, 137))
RGB = np.asarray(PICTURE)
GREY = np.asarray(PICTURE.convert("L"))
GUESSED = {ImageWarning.BITS_GUESSED}
Pixels = NDArray[Any]


def check(data: bytes, expected: Pixels, most: float, warnings: set[ImageWarning]) -> None:
    source = Source.open(data, 10**6)
    assert (source.height, source.width) == expected.shape[:2]
    pixels = source.decode().astype(int)
    assert source.warnings == warnings
    if expected.ndim == 2:
        expected = np.dstack([expected] * 3)
    assert np.abs(pixels[..., ::-1] - expected[..., :3]).mean() <= most


def one(pixels: Pixels, bits: int, order: Any = "<", **options: Any) -> bytes:
    stored = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
    big = options.pop("big", False)
    return tiff(Page(layout(pixels, bits, **options), [stored]), order=order, big=big)


def used(bits: int, pixels: Pixels, dtype: str = "u2") -> Pixels:
    return np.rint(pixels * (((1 << bits) - 1) / 255)).astype(dtype)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("big", [False, True], ids=["classic", "big"])
@pytest.mark.parametrize("pixels", [GREY, RGB], ids=["grey", "rgb"])
@pytest.mark.parametrize("bits", [9, 10, 12, 14])
def test_samples_of_16_bits_that_use_fewer(
    bits: int, pixels: Pixels, big: bool, order: str
) -> None:
    stored = used(bits, pixels)
    check(one(stored, 16, order, big=big), pixels, 0.5, GUESSED)
    # a file that says so is not guessed at; all that fits into 16 bits is what writers always say
    check(one(stored, 16, order, big=big, t281=(1 << bits) - 1), pixels, 0.5, set())
    check(one(stored, 16, order, big=big, t281=65535), pixels, 0.5, GUESSED)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("pixels", [GREY, RGB], ids=["grey", "rgb"])
@pytest.mark.parametrize(
    ("dtype", "scale", "warnings"),
    [
        ("u1", 1, set()), ("u2", 257, set()), ("u4", 16843009, set()), ("u4", 257, GUESSED),
        ("u8", 1 << 20, GUESSED), ("i2", 128, set()), ("i2", 16, GUESSED), ("i4", 257, GUESSED),
        ("f2", 1 / 255, set()), ("f4", 1 / 255, set()), ("f8", 1 / 255, set()), ("f4", 1, GUESSED),
        ("f4", 16, GUESSED), ("f8", 257, GUESSED), ("f4", 4 / 255, GUESSED),
    ],
)  # fmt: skip
def test_every_kind_of_number(
    dtype: str, scale: float, warnings: set[ImageWarning], pixels: Pixels, order: str
) -> None:
    stored = (pixels * float(scale)).astype(dtype)
    # of floats above 1 the largest is white
    most = 12 if scale == 4 / 255 else 1.5
    check(one(stored, stored.itemsize * 8, order), pixels, most, warnings)


def test_signed_samples_around_zero() -> None:
    check(one((GREY.astype(int) - 128).astype("i1"), 8), GREY, 2, GUESSED)
    check(one((GREY.astype(int) * 257 - 32768).astype("i2"), 16), GREY, 2, GUESSED)


def test_floats_that_are_no_numbers_and_lights_above_white() -> None:
    stored = (RGB / 255).astype("f4")
    stored[:2], stored[2] = np.nan, np.inf
    check(one(stored, 32), np.where(np.arange(117)[:, None, None] < 2, 0, RGB), 3, set())
    stored = (RGB / 255).astype("f4")
    stored[:3, :40] = 16.0
    check(one(stored, 32), RGB, 2, GUESSED)


def test_a_range_that_floats_say() -> None:
    stored = (RGB * 2.0 - 100).astype("f4")
    check(one(stored, 32, t340=[-100.0] * 3, t341=[410.0] * 3), RGB, 0.5, set())


@pytest.mark.parametrize("bits", [2, 4, 9, 10, 12, 14, 24])
@pytest.mark.parametrize("pixels", [GREY, RGB], ids=["grey", "rgb"])
def test_packed_bits(bits: int, pixels: Pixels) -> None:
    stored = used(bits, pixels, "u4")
    ones = (stored.reshape(len(stored), -1, 1) >> np.arange(bits)[::-1] & 1).astype(np.uint8)
    rows = np.packbits(ones.reshape(len(stored), -1), axis=1)
    data = tiff(Page(layout(stored, bits), [rows.tobytes()]), order=">")
    check(data, np.rint(stored * (255 / ((1 << bits) - 1))), 1, set())


def predicted(pixels: Pixels) -> bytes:
    before = np.zeros_like(pixels)
    before[:, 1:] = pixels[:, :-1]
    return (pixels - before).tobytes()


def floats_predicted(pixels: Pixels) -> bytes:
    """TIFF Technical Note 3."""
    height, width, each = pixels.shape
    ones = pixels.astype(">f4").view(np.uint8).reshape(height, width * each, 4)
    rows = ones.swapaxes(1, 2).reshape(height, -1).copy()
    rows[:, each:] -= rows[:, :-each].copy()
    return rows.tobytes()


COMPRESSIONS: dict[int, Callable[[bytes], bytes]] = {
    1: bytes, 8: zlib.compress, 32946: zlib.compress, 50000: zstandard.compress,
    34925: lzma.compress,
}  # fmt: skip


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("predictor", [1, 2])
@pytest.mark.parametrize("kind", ["strips", "tiles", "planes"])
def test_every_layout(compression: int, predictor: int, kind: str) -> None:
    pack = COMPRESSIONS[compression]
    predictor = predictor if compression != 1 else 1
    stored = used(12, RGB)
    asked = {"t259": compression, "t317": predictor}
    raw = predicted if predictor == 2 else np.ndarray.tobytes
    if kind == "strips":
        parts = [stored[top : top + 50] for top in range(0, 117, 50)]
        page = Page({**layout(stored, 16, **asked), 278: 50}, [pack(raw(one)) for one in parts])
    elif kind == "tiles":
        padded = np.pad(stored, ((0, 11), (0, 31), (0, 0)))
        parts = [
            padded[top : top + 64, left : left + 64] for top in (0, 64) for left in (0, 64, 128)
        ]
        tags = {**layout(stored, 16, **asked), 322: 64, 323: 64}
        page = Page(tags, [pack(raw(one.copy())) for one in parts], tiled=True)
    else:
        parts = [stored[..., place : place + 1].copy() for place in range(3)]
        page = Page({**layout(stored, 16, **asked), 284: 2}, [pack(raw(one)) for one in parts])
    check(tiff(page), RGB, 0.5, GUESSED)


def test_floats_with_a_predictor_of_their_own() -> None:
    stored = (RGB / 255).astype("f4")
    padded = np.pad(stored, ((0, 11), (0, 31), (0, 0)))
    tags = {**layout(stored, 32, t259=8, t317=3), 322: 64, 323: 64}
    parts = [padded[top : top + 64, left : left + 64] for top in (0, 64) for left in (0, 64, 128)]
    tiles = [zlib.compress(floats_predicted(part)) for part in parts]
    check(tiff(Page(tags, tiles, tiled=True)), RGB, 1, set())


@pytest.mark.parametrize(("extra", "premultiplied"), [(1, True), (2, False)])
def test_alpha_is_laid_on_white(extra: int, premultiplied: bool) -> None:
    alpha = np.full(GREY.shape, 255)
    alpha[:40] = 51
    share = alpha[..., None] / 255
    colours = RGB * share if premultiplied else RGB
    stored = np.rint(np.dstack([colours, alpha]) * 257.0).astype("u2")
    check(one(stored, 16, t338=extra), RGB * share + 255 * (1 - share), 1, set())


def test_alpha_that_hides_all_is_none() -> None:
    check(one(np.dstack([RGB, GREY * 0]).astype("u2") * 257, 16, t338=2), RGB, 0, set())


def test_white_may_be_zero_and_inks_four() -> None:
    check(one(65535 - GREY.astype("u2") * 257, 16, t262=0), GREY, 1, set())
    inks = np.dstack([255 - RGB, GREY * 0]).astype("u2") * 257
    check(one(inks, 16, t262=5), RGB, 1, set())


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_deep_pictures_are_turned(orientation: int) -> None:
    turns = {3: 2, 6: 1, 8: 3}[orientation]
    stored = np.rot90(RGB.astype("u2") * 257, turns).copy()
    check(one(stored, 16, t274=orientation), RGB, 0, set())


@pytest.mark.parametrize("tags", [{"t259": 34887}, {"t259": 50002}, {"t262": 9}, {"t339": 6}])
def test_what_is_unknown_is_not_called_damaged(tags: dict[str, Any]) -> None:
    with pytest.raises(ImageError, match="The TIFF ") as caught:
        Source.open(one(RGB.astype("u2"), 16, **tags), 10**6).decode()
    assert caught.value.code is ImageErrorCode.UNSUPPORTED_FORMAT


def test_a_deep_picture_cut_short_is_damaged() -> None:
    stored = RGB.astype("u2") * 257
    page = Page({**layout(stored, 16), 257: 300, 278: 300}, [stored.tobytes()])
    with pytest.raises(ImageError) as caught:
        Source.open(tiff(page), 10**6).decode()
    assert caught.value.code in {ImageErrorCode.TRUNCATED_IMAGE, ImageErrorCode.CORRUPT_IMAGE}


# --- pages ----------------------------------------------------------------------------------------


def plain(pixels: Pixels, **tags: int) -> Page:
    return Page(layout(pixels, 8, **tags), [pixels.tobytes()])


SMALL = RGB[::4, ::4].copy()
OTHER = 255 - RGB


def test_pages_are_counted_and_the_first_is_taken() -> None:
    check(tiff(plain(RGB)), RGB, 0, set())
    data = tiff(plain(RGB), plain(OTHER), plain(OTHER), plain(SMALL, t254=1))
    check(data, RGB, 0, {ImageWarning.FIRST_PAGE_OF_N})
    assert Source.open(data, 10**6).pages == 3


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("big", [False, True], ids=["classic", "big"])
@pytest.mark.parametrize("tag", [254, 255], ids=["new", "old"])
def test_a_thumbnail_is_not_the_first_page(tag: int, big: bool, order: str) -> None:
    small = {"t254": 1} if tag == 254 else {"t255": 2}
    check(tiff(plain(SMALL, **small), plain(RGB), order=order, big=big), RGB, 0, set())
    front = plain(SMALL, **small)
    front.children = [plain(SMALL, t254=1), plain(RGB, t254=0)]
    check(tiff(front, order=order, big=big), RGB, 0, set())


def test_a_page_below_another_is_turned_as_that_says() -> None:
    stored = np.rot90(RGB).copy()
    front = plain(SMALL, t254=1, t274=6)
    front.children = [plain(stored, t254=0)]
    check(tiff(front), RGB, 0, set())
    front.children = [plain(RGB, t254=0, t274=1)]
    check(tiff(front), RGB, 0, set())


def test_directories_that_follow_each_other_in_a_ring() -> None:
    data = bytearray(tiff(plain(RGB), plain(OTHER)))
    data[-4:] = data[4:8]  # the last page's link
    assert Source.open(bytes(data), 10**6).pages == 2


def test_other_formats_have_no_pages() -> None:
    assert Source.open(encoded(PICTURE, "PNG"), 10**6).pages is None

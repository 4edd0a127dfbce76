from __future__ import annotations

from io import BytesIO

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from detection.crop import cut, encode
from detection.geometry import Square
from detection.options import ImageFormat
from tests.pictures import astronaut, bgr

Pixels = NDArray[np.uint8]


def gradient(width: int, height: int) -> Pixels:
    """Blue counts the columns, green the rows."""
    rows, columns = np.mgrid[:height, :width]
    return np.dstack([columns, rows, np.zeros_like(rows)]).astype(np.uint8)


def disc(scale: float, centre: tuple[float, float], radius: float) -> Pixels:
    """A white disc on black in an image of 400 x 240, drawn at `scale`."""
    pixels = np.zeros((round(240 * scale), round(400 * scale), 3), np.uint8)
    x, y = (round(value * scale) for value in centre)
    cv2.circle(pixels, (x, y), round(radius * scale), (255, 255, 255), -1)
    return pixels


@pytest.mark.parametrize("size", [16, 100, 300, 301])
@pytest.mark.parametrize("side", [1, 7, 100, 230])
def test_size_is_exact(size: int, side: int) -> None:
    crop = cut(gradient(250, 240), Square(5, 5, side), 1, size)
    assert crop.shape == (size, size, 3)
    assert crop.dtype == np.uint8


def test_what_is_cut_is_what_was_asked_for() -> None:
    crop = cut(gradient(250, 240), Square(30, 50, 100), 1, 100)
    assert (crop == gradient(250, 240)[50:150, 30:130]).all()


@pytest.mark.parametrize("side", [400, 512, 700, 1000, 2000])
def test_what_is_too_fine_for_the_crop_becomes_grey(side: int) -> None:
    board = (np.indices((side, side)).sum(axis=0) % 2 * 255).astype(np.uint8)
    crop = cut(np.dstack([board] * 3), Square(0, 0, side), 1, 300)
    assert abs(crop.mean() - 127.5) < 1
    assert crop.std() < 10  # of single pixels taken: 30 to 50


@pytest.mark.parametrize("side", [400, 512])
def test_a_smaller_picture_is_as_a_well_filtered_one(side: int) -> None:
    picture = bgr(astronaut())
    with_pillow = Image.fromarray(picture[:side, :side]).resize(
        (300, 300), Image.Resampling.BILINEAR
    )
    crop = cut(picture, Square(0, 0, side), 1, 300)
    assert cv2.PSNR(crop, np.asarray(with_pillow)) > 44


@pytest.mark.parametrize("scale", [1, 0.5, 0.25])
@pytest.mark.parametrize("left", [-60, 100, 260])  # past the left edge, inside, past the right one
def test_a_circle_stays_round_and_central(scale: float, left: int) -> None:
    square = Square(left, 20, 200)
    centre = (left + 100, 120)
    crop = cut(disc(scale, centre, 32), square, scale, 200)
    rows, columns = np.nonzero(crop[:, :, 0] > 127)
    # a pixel at this scale is 1 / scale pixels of the crop
    close = 1 + 1 / scale
    assert abs(np.ptp(rows) - np.ptp(columns)) <= close
    assert abs(np.ptp(rows) + 1 - 64) <= 2 * close
    assert abs(rows.mean() - 99.5) <= close
    assert abs(columns.mean() - 99.5) <= close


@pytest.mark.parametrize(
    ("x", "y", "part"),
    [
        (-20, 50, np.s_[:, :20]),
        (50, -20, np.s_[:20, :]),
        (220, 50, np.s_[:, 30:]),
        (50, 210, np.s_[30:, :]),
    ],
    ids=["left", "top", "right", "bottom"],
)
def test_the_border_is_repeated_outside(x: int, y: int, part: tuple[slice, slice]) -> None:
    pixels = gradient(250, 240)
    crop = cut(pixels, Square(x, y, 50), 1, 50)
    columns = np.clip(np.arange(x, x + 50), 0, 249)
    rows = np.clip(np.arange(y, y + 50), 0, 239)
    expected = pixels[np.ix_(rows, columns)]
    assert (crop == expected).all()
    outside = crop[part].astype(int)
    assert min(np.ptp(outside[:, :, 0]), np.ptp(outside[:, :, 1])) == 0


def test_a_square_that_misses_the_image_is_refused() -> None:
    with pytest.raises(ValueError, match="outside the image"):
        cut(gradient(250, 240), Square(300, 10, 20), 1, 50)


@pytest.mark.parametrize(
    ("name", "pillow"), [("jpg", "JPEG"), ("png", "PNG"), ("webp", "WEBP")]
)  # fmt: skip
def test_every_output_decodes_to_the_crop(name: ImageFormat, pillow: str) -> None:
    pixels = bgr(astronaut(300))
    with Image.open(BytesIO(encode(pixels, name, 90))) as image:
        assert image.format == pillow
        assert image.mode == "RGB"
        difference = np.abs(bgr(image).astype(int) - pixels).mean()
    assert difference == 0 if name == "png" else difference < 4


@pytest.mark.parametrize("name", ["jpg", "webp"])
def test_quality_is_heeded(name: ImageFormat) -> None:
    pixels = bgr(astronaut(300))
    assert (
        len(encode(pixels, name, 30))
        < len(encode(pixels, name, 60))
        < len(encode(pixels, name, 95))
    )

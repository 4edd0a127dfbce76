"""One warp, smooth where there are too many pixels, and exact where there are none to spare."""

from __future__ import annotations

import cmath
import math

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from detection.crop import cut
from detection.framing.frame import Frame, Similarity, frame_of
from detection.geometry import Square
from detection.warp import warp
from tests.pictures import astronaut, bgr

Pixels = NDArray[np.uint8]

AS_IT_IS = Similarity(1, 0)


def turned_square(side: float, centre: complex, degrees: float, size: int = 300) -> Frame:
    linear = size / side * cmath.exp(1j * math.radians(degrees))
    return frame_of(Similarity(linear, size / 2 * (1 + 1j) - linear * centre), size, size)


def warped(pixels: Pixels, frame: Frame) -> Pixels:
    height, width = pixels.shape[:2]
    return warp(pixels, frame, AS_IT_IS, (width, height), "replicate")


@pytest.mark.parametrize("degrees", [0, 10, 20, 90])
@pytest.mark.parametrize("side", [330, 400, 512, 700, 840, 1000, 1999])
def test_what_is_too_fine_for_the_crop_becomes_grey(side: int, degrees: float) -> None:
    board = np.tile(
        np.array([[[0] * 3, [255] * 3], [[255] * 3, [0] * 3]], np.uint8), (side, side, 1)
    )
    crop = warped(board, turned_square(side, side * (1 + 1j), degrees))
    assert abs(crop.mean() - 127.5) < 1
    assert crop.std() < 20  # of single pixels taken: 30 to 127


@pytest.mark.parametrize("side", [330, 400, 512])
def test_a_smaller_picture_is_as_a_well_filtered_one(side: int) -> None:
    picture = bgr(astronaut())
    with_pillow = Image.fromarray(picture[:side, :side]).resize(
        (300, 300), Image.Resampling.BILINEAR
    )
    crop = warped(picture, turned_square(side, side / 2 * (1 + 1j), 0))
    inner = np.s_[3:-3, 3:-3]  # its filter sees what lies beyond
    assert cv2.PSNR(crop[inner], np.asarray(with_pillow)[inner]) > 40


@pytest.mark.parametrize("side", [100, 250, 420, 1000])
def test_an_upright_square_is_as_it_is_cut(side: int) -> None:
    picture = bgr(astronaut(1024))
    square = Square(3, 5, side)
    crop = warped(picture, turned_square(side, complex(3 + side / 2, 5 + side / 2), 0))
    inner = np.s_[3:-3, 3:-3]
    assert cv2.PSNR(crop[inner], cut(picture, square, 1, 300)[inner]) > 40


@pytest.mark.parametrize("side", [280, 300, 1200])
def test_quarter_turns_of_the_picture_and_of_the_frame_are_the_same(side: int) -> None:
    picture = bgr(astronaut(1400))
    upright = warped(picture, turned_square(side, 700 + 700j, 0))
    # turned clockwise, the crop shows the picture turned clockwise
    turned = warped(picture, turned_square(side, 700 + 700j, 90))
    assert cv2.PSNR(np.rot90(upright, -1).copy(), turned) > 45
    if side == 300:
        assert (np.rot90(upright, -1) == turned).all()
        assert (upright == picture[550:850, 550:850]).all()


def test_a_frame_far_outside_is_the_border() -> None:
    picture = bgr(astronaut())
    crop = warped(picture, turned_square(50, 9000 - 7000j, 10))
    assert (crop == picture[0, -1]).all()

"""What the pixels of a face say of it: figures that compare, whatever its size and its light."""

from functools import cache
from typing import cast

import cv2
import numpy as np
import pytest

from detection import quality
from detection.crop import Pixels
from detection.quality import measure
from tests.photographs import photographs
from tests.pictures import bgr

SCALES_FACTOR = 1.3
"""By which the sharpness of one face differs at most, photographed at 1, 1/2 and 1/4 of a size."""


@cache
def real_faces() -> list[Pixels]:
    """Six, of 160 to 800 pixels, each shrunk to a half, so that its pixels are as sharp as any."""
    found = []
    for photograph in photographs():
        picture = bgr(photograph.upright())
        for x, y, w, h in photograph.faces.astype(int):
            if min(w, h) >= 150:
                found.append(resized(picture[y : y + h, x : x + w], 0.5))
    return found


@pytest.fixture(params=range(6))
def face(request: pytest.FixtureRequest) -> Pixels:
    found: Pixels = real_faces()[request.param]
    return found


def resized(pixels: Pixels, scale: float) -> Pixels:
    smooth = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return cast(Pixels, cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=smooth))


def blurred(pixels: Pixels, sigma: float) -> Pixels:
    return cast(Pixels, cv2.GaussianBlur(pixels, (0, 0), sigma)) if sigma else pixels


def sharpness(pixels: Pixels) -> float:
    return measure(pixels, (0, 0, pixels.shape[1], pixels.shape[0]), 1).sharpness


def test_more_blur_is_less_sharp(face: Pixels) -> None:
    found = [sharpness(blurred(face, sigma)) for sigma in (0, 0.7, 1, 1.5, 2, 3)]
    assert found == sorted(found, reverse=True)
    assert found[0] >= 0.4
    assert found[2] < 0.5 * found[0]
    assert max(sharpness(blurred(face, sigma)) for sigma in (5, 8)) < 0.1


def test_a_face_in_focus_is_as_sharp_whatever_its_size(face: Pixels) -> None:
    found = [sharpness(resized(face, scale)) for scale in (1, 0.5, 0.25)]
    assert max(found) < SCALES_FACTOR * min(found)


def test_a_face_that_was_enlarged_is_not_sharp(face: Pixels) -> None:
    small = resized(face, 40 / min(face.shape[:2]))
    twice, four = sharpness(resized(small, 2)), sharpness(resized(small, 4))
    assert twice < 0.75 * sharpness(small)
    assert four < 0.4 * sharpness(small)


def test_light_changes_little(face: Pixels) -> None:
    dark = np.asarray(face * 0.4 + 20, np.uint8)
    assert 0.85 * sharpness(face) < sharpness(dark) < sharpness(face)
    assert sharpness(np.asarray(blurred(face, 5) * 0.4 + 20, np.uint8)) < 0.2


@pytest.mark.parametrize("along", [(1, 9), (9, 1)])
def test_a_face_that_moved_is_not_sharp(face: Pixels, along: tuple[int, int]) -> None:
    moved = cast(Pixels, cv2.blur(face, along))
    assert sharpness(moved) < 0.5 * sharpness(face)


def test_of_a_large_face_some_lines_do(monkeypatch: pytest.MonkeyPatch) -> None:
    large = max(real_faces(), key=len)
    assert min(large.shape[:2]) > 3 * quality._LINES
    some = measure(large, (0, 0, large.shape[1], large.shape[0]), 1)
    monkeypatch.setattr(quality, "_LINES", 10_000)
    every = measure(large, (0, 0, large.shape[1], large.shape[0]), 1)
    assert some.sharpness == pytest.approx(every.sharpness, abs=0.02)
    assert some.brightness == pytest.approx(every.brightness, abs=2)
    assert some.contrast == pytest.approx(every.contrast, abs=2)


def test_light_is_that_of_the_box() -> None:
    picture = np.zeros((100, 200, 3), np.uint8)
    picture[20:60, 40:60] = 200
    picture[20:60, 60:80] = 100
    found = measure(picture, (40, 20, 40, 40), 1)
    assert (found.brightness, found.contrast) == (150, 50)
    assert measure(picture[10:], (80, 40, 80, 80), 0.5, (0, 10)) == found
    blue = np.zeros((50, 50, 3), np.uint8)
    blue[..., 0] = 255
    assert measure(blue, (0, 0, 50, 50), 1).brightness == 29  # 0.114 of it, by BT.601


@pytest.mark.parametrize("side", [1, 2, 5, 6, 40])
def test_no_box_is_too_small_or_too_flat(side: int) -> None:
    flat = np.full((40, 40, 3), 90, np.uint8)
    assert measure(flat, (0, 0, side, side), 1) == (0, 90, 0)
    assert measure(flat, (39.5, 39.5, side, side), 1) == (0, 90, 0)
    outside = measure(flat, (-side, -side, 2 * side + 0.1, 2 * side + 0.1), 1)
    assert outside == pytest.approx((0, 90, 0), abs=1e-4)

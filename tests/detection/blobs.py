"""Pictures of no face: five soft spots at points that are known to a fraction of a pixel."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from detection import image
from detection.detectors.base import Faces
from detection.framing.frame import Frame
from detection.image import crop_faces
from detection.passes import Found
from detection.result import Crop
from detection.settings import CutSettings, DetectionSettings
from tests.pictures import encoded

Pixels = NDArray[np.uint8]

ARCFACE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655],
     [70.7299, 92.2041]]
)  # fmt: skip
_GROUND, _SPOT = 70, 160  # grey, and how much brighter a spot is
_RADIUS = 0.07  # of a spot, as a share of the distance of the eyes


def points_at(centre: tuple[float, float], eyes: float, roll: float) -> NDArray[np.float64]:
    """The five points of ArcFace's template, (5, 2), from an image's upper left corner.

    Args:
        centre: of the five, in pixels.
        eyes: pixels between the eyes.
        roll: degrees clockwise.
    """
    template = ARCFACE - ARCFACE.mean(axis=0)
    right, left = template[:2]
    lean = math.atan2(left[1] - right[1], left[0] - right[0])
    turn, scale = math.radians(roll) - lean, eyes / math.dist(right, left)
    cos, sin = math.cos(turn) * scale, math.sin(turn) * scale
    return np.asarray(template @ np.array([[cos, sin], [-sin, cos]]) + centre)


def box_of(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """A box around five points, as wide and as high as a detector's: x, y, w, h."""
    eyes = math.dist(*points[:2])
    x, y = points.mean(axis=0)
    return np.array([x - 1.2 * eyes, y - 1.6 * eyes, 2.4 * eyes, 3.1 * eyes])


def spotted(size: tuple[int, int], points: NDArray[np.float64]) -> Pixels:
    """A (h, w, 3) uint8 grey picture of such a width and height, with a spot at each point."""
    radius = _RADIUS * math.dist(*points[:2])
    picture = np.full((size[1], size[0]), _GROUND, np.float32)
    for x, y in points:
        reach = math.ceil(5 * radius)
        left, top = max(0, int(x) - reach), max(0, int(y) - reach)
        right, bottom = min(size[0], int(x) + reach), min(size[1], int(y) + reach)
        rows, columns = np.mgrid[top:bottom, left:right] + 0.5
        spot = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * radius**2))
        picture[top:bottom, left:right] += _SPOT * spot
    return np.dstack([np.rint(np.clip(picture, 0, 255)).astype(np.uint8)] * 3)


def crop_known(
    monkeypatch: pytest.MonkeyPatch,
    data: bytes,
    points: NDArray[np.float64] | None,
    settings: CutSettings,
    *,
    box: Sequence[float] | None = None,
    quarters: int = 0,
) -> tuple[Crop, Pixels]:
    """The crop of a face that is known, and its pixels.

    Args:
        monkeypatch: puts the face in the place of what is found.
        data: an image file.
        points: of the face, (5, 2) in pixels of the upright picture; None for none.
        settings: with PNG as the format.
        box: of the face; by default around the points.
        quarters: turns counterclockwise after which it is said to stand.
    """
    there = box_of(points) if points is not None and box is None else np.asarray(box)
    landmarks = np.full((5, 2), np.nan) if points is None else points
    faces = Faces(
        there[None].astype(np.float32),
        np.array([0.9], np.float32),
        landmarks[None].astype(np.float32),
    )
    monkeypatch.setattr(image, "find_faces", lambda *_: Found(faces, quarters, may_miss=False))
    detection = DetectionSettings(profile="fast")
    found = crop_faces(data, NoDetector(), detection, settings.spelled_out(), 10**9)
    (crop,) = found.crops
    pixels = np.asarray(
        cv2.imdecode(np.frombuffer(crop.data, np.uint8), cv2.IMREAD_COLOR), np.uint8
    )
    assert pixels.shape[:2] == (crop.frame.height, crop.frame.width)
    return crop, pixels


def as_file(picture: Pixels, file_format: str = "PNG", orientation: int = 1) -> bytes:
    """An upright picture as a file that a camera may have written with such an orientation."""
    options = {"quality": 97} if file_format == "JPEG" else {"compress_level": 1}
    return encoded(Image.fromarray(picture), file_format, orientation, **options)


class NoDetector:
    """Finds nothing."""

    def detect(self, image: Pixels) -> Faces:
        """No faces."""
        raise AssertionError("what is found is said by the test")


def shown_at(frame: Frame, point: Sequence[float]) -> tuple[float, float]:
    """Where a point of the photograph is in its crop, by the matrix alone."""
    a, b, x, c, d, y = frame.matrix
    return a * point[0] + b * point[1] + x, c * point[0] + d * point[1] + y


def seen_at(pixels: Pixels, near: tuple[float, float], eyes: float) -> tuple[float, float]:
    """Where a spot is in a crop, by its brightness.

    Args:
        pixels: of the crop.
        near: where it is looked for.
        eyes: pixels of the crop between the eyes.
    """
    reach = max(3.0, 4 * _RADIUS * eyes)
    height, width = pixels.shape[:2]
    left, right = max(0, round(near[0] - reach)), min(width, round(near[0] + reach))
    top, bottom = max(0, round(near[1] - reach)), min(height, round(near[1] + reach))
    bright = np.maximum(pixels[top:bottom, left:right, 0].astype(float) - _GROUND - 12, 0)
    rows, columns = np.mgrid[top:bottom, left:right] + 0.5
    return (
        float((bright * columns).sum() / bright.sum()),
        float((bright * rows).sum() / bright.sum()),
    )

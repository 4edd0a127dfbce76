"""Where a face looks: known for faces that are made up, and bounded in its error."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from detection.image import crop_faces, make_detector
from detection.pose import MEAN_FACE, look
from detection.settings import CutSettings, DetectionSettings
from tests.pictures import astronaut, encoded

Points = NDArray[np.float64]

FACE: Points = np.array(MEAN_FACE)


def seen(yaw: float, pitch: float, roll: float = 0, face: Points = FACE, near: float = 0) -> Points:
    """Five points of a face that was turned by yaw, pitched, then rolled (clockwise), in pixels.

    Args:
        yaw, pitch, roll: in degrees.
        face: (5, 3), in halves of the distance of the eyes.
        near: that over the distance to the camera; 0 for one that is far away.
    """
    y, p, r = np.radians([yaw, pitch, roll])
    nods = [[1, 0, 0], [0, math.cos(p), -math.sin(p)], [0, math.sin(p), math.cos(p)]]
    turns = [[math.cos(y), 0, math.sin(y)], [0, 1, 0], [-math.sin(y), 0, math.cos(y)]]
    rolls = [[math.cos(r), -math.sin(r), 0], [math.sin(r), math.cos(r), 0], [0, 0, 1]]
    points = (face - face.mean(axis=0)) @ (np.array(rolls) @ nods @ turns).T
    flat: Points = points[:, :2] / (1 - near * points[:, 2:]) * 37 + (500, 300)
    return flat


def looked(points: Points) -> tuple[float, float]:
    return look([(float(x), float(y)) for x, y in points])


@pytest.mark.parametrize("roll", [0, 25, -90, 180])
@pytest.mark.parametrize("pitch", [-30, 0, 20])
@pytest.mark.parametrize("yaw", [-80, -30, 0, 10, 60])
def test_the_mean_face_is_known_exactly(yaw: float, pitch: float, roll: float) -> None:
    assert looked(seen(yaw, pitch, roll)) == pytest.approx((yaw, pitch), abs=1e-9)


def test_right_and_up_are_the_picture_s() -> None:
    points = FACE[:, :2].copy()
    points[2] += (0.3, 0)  # the tip of the nose, to the right
    yaw, pitch = looked(points)
    assert yaw > 10
    points[2] += (-0.3, -0.2)  # and up
    yaw, pitch = looked(points)
    assert abs(yaw) < 1e-9
    assert pitch > 5


def test_its_error_is_bounded() -> None:
    """People differ by a tenth, cameras are ten faces away, points are off by a fiftieth."""
    random = np.random.default_rng(0)
    wrong = []
    for _ in range(2000):
        face = FACE * (1 + random.normal(0, 0.1, (1, 3)))
        face[2] += random.normal(0, 0.1, 3) * (0, 1, 1)
        yaw, pitch = random.uniform(-60, 60), random.uniform(-15, 15)
        points = seen(yaw, pitch, random.uniform(-30, 30), face, 0.05)
        found = looked(points + random.normal(0, 2 * 37 / 50, (5, 2)))
        wrong.append(np.subtract(found, (yaw, pitch)))
    bias, spread = np.mean(wrong, axis=0), np.sqrt(np.mean(np.square(wrong), axis=0))
    assert np.abs(bias).max() < 1
    assert 3 < spread[0] < 6
    assert 4 < spread[1] < 10


def test_points_that_are_no_face_s_give_numbers() -> None:
    line = np.outer(np.arange(5.0), (1, 1))
    for points in (np.zeros((5, 2)), line, line * 1e10, seen(90, 90), seen(30, 10) * 1e10):
        yaw, pitch = looked(points)
        assert -180 <= yaw <= 180
        assert -90 <= pitch <= 90


def test_a_mirror_turns_a_face_to_the_other_side() -> None:
    settings = DetectionSettings()
    yaws = []
    for picture in (astronaut(), astronaut().transpose(Image.Transpose.FLIP_LEFT_RIGHT)):
        data = encoded(picture, "PNG")
        image = crop_faces(data, make_detector(settings), settings, CutSettings(), 10**7)
        assert image.crops[0].look is not None
        yaws.append(image.crops[0].look[0])
    assert yaws[0] == pytest.approx(-yaws[1], abs=4)
    assert max(map(abs, yaws)) < 10

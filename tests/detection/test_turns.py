"""Photographs that lie on their side or on their head, with no tag that tells."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from detection.crop import Pixels
from detection.detectors.base import Detector, Faces
from detection.errors import ImageWarning
from detection.image import crop_faces, make_detector
from detection.result import Crop
from detection.result import Image as Cropped
from detection.settings import CutSettings, DetectionSettings, Profile
from tests.photographs import photographs
from tests.pictures import astronaut, coffee, encoded

LYING = {
    90: Image.Transpose.ROTATE_90,
    180: Image.Transpose.ROTATE_180,
    270: Image.Transpose.ROTATE_270,
}
"""Pictures turned counterclockwise by so much stand again when they are turned clockwise."""


def cropped(picture: Image.Image, profile: Profile, detector: Detector | None = None) -> Cropped:
    settings = DetectionSettings(profile=profile)
    file = encoded(picture, "PNG")
    detector = detector or make_detector(settings)
    return crop_faces(file, detector, settings, CutSettings(format="png"), 10**8)


def pixels(crop: Crop) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.asarray(Image.open(BytesIO(crop.data)), np.float32)


@pytest.mark.parametrize("degrees", LYING)
@pytest.mark.parametrize("profile", ["balanced", "thorough"])
def test_crops_stand_upright(profile: Profile, degrees: int) -> None:
    [upright] = cropped(astronaut(), profile).crops
    image = cropped(astronaut().transpose(LYING[degrees]), profile)
    [crop] = image.crops
    assert image.warnings == [ImageWarning.TURNED]
    assert (upright.turn, crop.turn) == (0, degrees)
    assert np.abs(pixels(crop) - pixels(upright)).mean() < 4
    # the points lie in the picture as it is, and the line of the eyes with them
    assert upright.roll is not None
    assert crop.roll is not None
    assert abs(upright.roll) < 5
    assert abs((crop.roll + degrees + 180) % 360 - 180) < 5
    x, y, w, h = crop.box
    assert crop.landmarks is not None
    for a, b in crop.landmarks:
        assert x < a < x + w
        assert y < b < y + h


def test_the_fast_profile_turns_nothing() -> None:
    for transpose in LYING.values():
        image = cropped(astronaut().transpose(transpose), "fast")
        assert {crop.turn for crop in image.crops} <= {0}
        assert image.warnings == []


def test_a_face_that_is_found_on_its_side_is_cut_turned() -> None:
    """It would be a success otherwise, with a crop on its side."""
    lying = astronaut().transpose(Image.Transpose.ROTATE_90)
    [found] = cropped(lying, "fast").crops  # it takes the face as one that stands
    assert found.turn == 0
    [turned] = cropped(lying, "balanced").crops
    assert turned.turn == 90


@pytest.mark.parametrize("profile", ["balanced", "thorough"])
@pytest.mark.parametrize("degrees", [-40, -30, -20, 20, 30, 40])
def test_a_head_that_is_tilted_stays_as_it_is(profile: Profile, degrees: int) -> None:
    tilted = astronaut().rotate(degrees, Image.Resampling.BICUBIC, fillcolor="grey")
    [crop] = cropped(tilted, profile).crops
    assert crop.turn == 0


@pytest.mark.parametrize("profile", ["balanced", "thorough"])
def test_what_is_no_face_turns_nothing(profile: Profile) -> None:
    """An upside-down cat looks like a face to the small pass."""
    for photo in photographs():
        if not len(photo.faces):
            for transpose in (None, *LYING.values()):
                picture = photo.upright()
                if transpose is not None:
                    picture = picture.transpose(transpose)
                image = cropped(picture, profile)
                assert (image.crops, image.warnings) == ([], [])


class Counted:
    """A detector that keeps the sizes of what it was shown."""

    def __init__(self, profile: Profile) -> None:
        self._detector = make_detector(DetectionSettings(profile=profile))
        self.sizes: list[tuple[int, int]] = []

    def detect(self, image: Pixels) -> Faces:
        self.sizes.append((image.shape[1], image.shape[0]))
        return self._detector.detect(image)


def test_a_face_that_stands_costs_no_pass() -> None:
    detector = Counted("balanced")
    assert len(cropped(astronaut(), "balanced", detector).crops) == 1
    assert detector.sizes == [(512, 512)]


def test_a_photograph_without_a_trace_of_a_face_costs_no_pass() -> None:
    detector = Counted("balanced")
    blank = Image.new("RGB", (600, 400), "grey")
    assert cropped(blank, "balanced", detector).crops == []
    assert detector.sizes == [(600, 400)]


def test_one_with_a_trace_is_tried_on_one_small_sheet() -> None:
    detector = Counted("balanced")
    assert cropped(coffee(), "balanced", detector).crops == []
    assert detector.sizes[0] == (600, 400)
    assert detector.sizes[-1] == (171 + 256 + 171, 256)

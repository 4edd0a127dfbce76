"""What each profile finds, with the real detector."""

from __future__ import annotations

from typing import cast

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from detection.codecs.decode import Source
from detection.crop import encode
from detection.decoded import Decoded
from detection.detectors.base import Detector, Faces
from detection.detectors.overlap import iou
from detection.image import make_detector
from detection.passes import find_faces
from detection.settings import PROFILES, DetectionSettings, Profile
from tests.pictures import astronaut, bgr, coffee

Pixels = NDArray[np.uint8]

MAX_PIXELS = 100_000_000

BALANCED, THOROUGH = DetectionSettings(), DetectionSettings(profile="thorough")


class Counted:
    """A detector, and the sizes of what it was shown."""

    def __init__(self, settings: DetectionSettings) -> None:
        self._detector = make_detector(settings)
        self.sizes: list[tuple[int, int]] = []

    def detect(self, image: Pixels) -> Faces:
        self.sizes.append((image.shape[1], image.shape[0]))
        return self._detector.detect(image)

    @property
    def upright(self) -> list[tuple[int, int]]:
        """The same, but for passes over what lies on its side: those are small."""
        return [size for size in self.sizes if min(size) > 384]


def found(pixels: Pixels, settings: DetectionSettings, detector: Detector | None = None) -> Faces:
    image = Decoded(Source.open(encode(pixels, "png", 0), MAX_PIXELS))
    return find_faces(image, detector or make_detector(settings), settings).faces


def in_a_large_photo(side: int) -> Pixels:
    """1600 x 1200 grey pixels, with the astronaut at (600, 400), `side` wide and high."""
    photo = np.full((1200, 1600, 3), 90, np.uint8)
    small = cv2.resize(bgr(astronaut()), (side, side), interpolation=cv2.INTER_AREA)
    photo[400 : 400 + side, 600 : 600 + side] = small
    return photo


@pytest.mark.parametrize(("profile", "side"), [("fast", 384), ("balanced", 640)])
def test_most_photos_are_looked_at_once(profile: Profile, side: int) -> None:
    settings = DetectionSettings(profile=profile)
    for photo, faces in ((in_a_large_photo(700), 1), (in_a_large_photo(1), 0)):
        detector = Counted(settings)
        assert len(found(photo, settings, detector)) == faces
        assert detector.sizes == [(side, side * 3 // 4)]


def test_a_clear_face_needs_no_second_pass() -> None:
    photo = cast(Pixels, cv2.resize(bgr(astronaut()), (1024, 1024)))
    detector = Counted(THOROUGH)
    faces = found(photo, THOROUGH, detector)
    assert detector.sizes == [(640, 640)]
    once = found(photo, BALANCED)
    assert (faces.boxes == once.boxes).all()
    assert (faces.landmarks == once.landmarks).all()


def test_a_doubtful_face_is_looked_at_again_finer() -> None:
    photo = in_a_large_photo(140)  # its face is some 9 pixels wide at 640
    assert len(found(photo, BALANCED)) == 0
    detector = Counted(THOROUGH)
    faces = found(photo, THOROUGH, detector)
    assert detector.upright[:2] == [(640, 480), (864, 664)]  # one tile of four
    assert len(faces) == 1
    assert faces.scores[0] > 0.8
    expected = np.array([180, 68, 88, 110], np.float32) * (140 / 512) + [600, 400, 0, 0]
    assert iou(faces.boxes[0], expected[None].astype(np.float32))[0] > 0.6


def test_small_faces_need_a_finer_pass() -> None:
    photo = in_a_large_photo(160)  # found at once, but with less than 24 pixels at 640
    detector = Counted(THOROUGH)
    assert len(found(photo, THOROUGH, detector)) == 1  # by both passes, but one face
    assert detector.upright == [(640, 480), (864, 664)]


@pytest.mark.parametrize("turns", [1, 2, 3])
@pytest.mark.parametrize("scale", [1, 5])  # below the detector's size, and above it
def test_a_photo_on_its_side_or_head_is_turned(turns: int, scale: int) -> None:
    small = cv2.resize(bgr(astronaut()), (200, 200), interpolation=cv2.INTER_AREA)
    upright = cast(Pixels, cv2.resize(small, None, fx=scale, fy=scale))
    settings = THOROUGH.model_copy(update={"side": 200})
    turned = np.ascontiguousarray(np.rot90(upright, turns))
    assert len(found(turned, settings.model_copy(update={"profile": "fast"}))) == 0
    here, there = found(upright, settings), found(turned, settings)
    [straight], [straight_points] = here.boxes, here.landmarks
    [box], [points] = there.boxes, there.landmarks

    # the corners and points of the upright face, where numpy turns their pixels to
    side = 200 * scale
    marks = np.concatenate([[straight[:2], straight[:2] + straight[2:]], straight_points])
    for _ in range(turns):
        marks = np.stack([marks[:, 1], side - marks[:, 0]], axis=1)
    left_top, right_bottom = marks[:2].min(axis=0), marks[:2].max(axis=0)
    expected = np.concatenate([left_top, right_bottom - left_top]).astype(np.float32)
    assert iou(box, expected[None])[0] > 0.98
    assert np.abs(points - marks[2:]).max() < 0.02 * side


def test_a_photo_of_nobody_stays_one_of_nobody() -> None:
    detector = Counted(THOROUGH)
    assert len(found(np.full((900, 1200, 3), 90, np.uint8), THOROUGH, detector)) == 0
    assert detector.sizes == [(640, 480), (960, 384)]


def test_as_low_a_score_as_was_asked_for_is_kept() -> None:
    scores = found(bgr(coffee()), DetectionSettings(min_score=0.1)).scores
    assert scores.min() < 0.3


def test_the_cascade_looks_once() -> None:
    settings = DetectionSettings(method="haar", profile="thorough")
    detector = Counted(settings)
    found(in_a_large_photo(300), settings, detector)
    assert detector.sizes == [(640, 480)]


def test_what_is_chosen_besides_a_profile_counts() -> None:
    passes = DetectionSettings(profile="thorough", side=800, min_score=0.6).passes
    assert (passes.side, passes.follows, passes.min_score) == (800, False, 0.6)
    assert passes.finer == PROFILES["thorough"].finer
    assert DetectionSettings(side=640).passes.finer == ()
    assert DetectionSettings().passes == PROFILES["balanced"]


def test_a_batch_that_was_begun_with_one_pass_at_640_keeps_to_it() -> None:
    recorded = {"profile": "balanced", "side": 640, "min_score": 0.7}  # by the former version
    settings = DetectionSettings.model_validate(recorded)
    assert (settings.passes.side, settings.passes.follows, settings.passes.finer) == (
        640,
        False,
        (),
    )
    assert settings.spelled_out() == DetectionSettings(side=640).spelled_out()
    assert settings.spelled_out() != DetectionSettings().spelled_out()


def test_a_side_is_the_profiles_or_large_enough() -> None:
    with pytest.raises(ValidationError, match="should be 0 or at least 64"):
        DetectionSettings(side=63)

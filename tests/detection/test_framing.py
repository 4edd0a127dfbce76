"""Crops of spots at known points: what is cut out is where the matrix says, and as was asked."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from detection import image
from detection.detectors.base import Faces
from detection.errors import ImageWarning
from detection.framing.border import outside
from detection.framing.frame import Similarity, frame_of, quarter_turns
from detection.framing.place import place
from detection.image import crop_faces, make_detector
from detection.options import MOST_CROP_SIDE
from detection.passes import Found
from detection.result import Crop
from detection.settings import CutSettings, DetectionSettings
from tests.detection.blobs import (
    ARCFACE,
    NoDetector,
    Pixels,
    as_file,
    box_of,
    crop_known,
    points_at,
    seen_at,
    shown_at,
    spotted,
)
from tests.photographs import photographs
from tests.pictures import astronaut_jpeg, encoded

PNG = CutSettings(format="png")
EXACT = 0.1  # px of the crop


def settings(**chosen: object) -> CutSettings:
    return CutSettings.model_validate({"format": "png", **chosen})


LEVEL, ARC, FFHQ = settings(align="level"), settings(align="arcface"), settings(align="ffhq")
HEAD = settings(frame="head", align="level", width=413, height=531, head_height=0.7, eye_line=0.4)
MODES = {
    "box": settings(width=400, height=300),
    "level": LEVEL,
    "arcface": ARC.model_copy(update={"size": 112}),
    "arcface 224": ARC.model_copy(update={"size": 224}),
    "ffhq": FFHQ,
    "head": HEAD,
    "head as it is": HEAD.model_copy(update={"align": "none"}),
    "native": settings(size=0, align="level"),
}


@dataclass(frozen=True)
class Case:
    """A face: eyes so many pixels apart, turned clockwise, in a picture of a size."""

    eyes: float
    roll: float
    at: tuple[float, float]
    size: tuple[int, int]
    file_format: str = "PNG"
    orientation: int = 1
    quarters: int = 0

    @property
    def points(self) -> NDArray[np.float64]:
        return points_at(self.at, self.eyes, self.roll)


CASES = [
    Case(40, 0, (200.3, 150.7), (401, 300)),
    Case(40, -30, (60.2, 70.4), (401, 300)),
    Case(23, 17, (200, 150), (401, 300)),
    Case(110, 12.5, (420.5, 390.25), (903, 801)),
    Case(110, 85, (420.5, 390.25), (903, 801)),
    # reduced to a half, a quarter and an eighth; the odd sizes are rounded up
    *(Case(260, 8, (1700.5, 1100.3), (3001, 2003), "JPEG", o) for o in (1, 3, 6, 8)),
    *(Case(600, -20, (1700.5, 1100.3), (3001, 2003), "JPEG", o) for o in (1, 2, 5, 7)),
    *(Case(900, 5, (2301.5, 1700.3), (4001, 3003), "JPEG", o) for o in (1, 3, 4, 6)),
    Case(110, 90, (420.5, 390.25), (903, 801), quarters=1),
    Case(110, 180 + 10, (420.5, 390.25), (903, 801), quarters=2),
    Case(110, -90 + 5, (420.5, 390.25), (903, 801), quarters=3),
]


_SEEN = ("JPEG", 1), ("JPEG", 3)  # of large pictures --fast has the other orientations
EACH = [
    pytest.param(one, marks=pytest.mark.slow if (one.file_format, one.orientation) in _SEEN else ())
    for one in CASES
]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("case", EACH, ids=str)
def test_eyes_are_where_the_matrix_says(
    case: Case, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    crop, pixels = crop_case(monkeypatch, case, MODES[mode])
    errors = []
    for eye in case.points[:2]:
        expected = shown_at(crop.frame, eye)
        if not all(0 <= at < side for at, side in zip(expected, pixels.shape[1::-1], strict=True)):
            continue
        seen = seen_at(pixels, expected, case.eyes * crop.frame.scale)
        errors.append(math.dist(seen, expected))
    assert errors or case.roll in (85,)
    print(f"{mode}: {max(errors, default=0):.3f} px")
    assert max(errors, default=0) < EXACT


def crop_case(monkeypatch: pytest.MonkeyPatch, case: Case, cut: CutSettings) -> tuple[Crop, Pixels]:
    return crop_known(monkeypatch, file_of(case), case.points, cut, quarters=case.quarters)


@cache
def file_of(case: Case) -> bytes:
    return as_file(spotted(case.size, case.points), case.file_format, case.orientation)


@pytest.mark.parametrize("case", EACH, ids=str)
def test_level_eyes_are_level(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    for mode in ("level", "head", "native"):
        crop, _ = crop_case(monkeypatch, case, MODES[mode])
        right, left = (shown_at(crop.frame, eye) for eye in case.points[:2])
        assert left[1] - right[1] == pytest.approx(0, abs=0.01)
        assert left[0] > right[0]


@pytest.mark.parametrize("case", EACH, ids=str)
@pytest.mark.parametrize("times", [1, 2, 3])
def test_arcfaces_points_come_to_its_template(
    case: Case, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    crop, _ = crop_case(monkeypatch, case, ARC.model_copy(update={"size": 112 * times}))
    for point, place_there in zip(case.points, ARCFACE, strict=True):
        expected = (place_there + 0.5) * times
        assert math.dist(shown_at(crop.frame, point), expected) < 0.01 * times


def test_arcfaces_template_is_centred_in_another_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    case = CASES[0]
    crop, _ = crop_case(monkeypatch, case, settings(align="arcface", width=224, height=312))
    for point, there in zip(case.points, ARCFACE, strict=True):
        expected = (there + 0.5) * 2 + (0, 44)
        assert math.dist(shown_at(crop.frame, point), expected) < 0.02


@pytest.mark.parametrize("case", EACH, ids=str)
def test_ffhqs_square_is_that_of_its_paper(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    crop, _ = crop_case(monkeypatch, case, FFHQ)
    right_eye, left_eye, _, right_mouth, left_mouth = case.points
    eyes, mouth = (right_eye + left_eye) / 2, (right_mouth + left_mouth) / 2
    eye_to_eye, eye_to_mouth = left_eye - right_eye, mouth - eyes
    x = eye_to_eye - np.flipud(eye_to_mouth) * [-1, 1]
    x /= np.hypot(*x)
    x *= max(np.hypot(*eye_to_eye) * 2, np.hypot(*eye_to_mouth) * 1.8)
    y = np.flipud(x) * [-1, 1]
    centre = eyes + eye_to_mouth * 0.1
    quad = [centre - x - y, centre + x - y, centre + x + y, centre - x + y]
    for corner, expected in zip(quad, [(0, 0), (300, 0), (300, 300), (0, 300)], strict=True):
        assert math.dist(shown_at(crop.frame, corner), expected) < 0.05


@pytest.mark.parametrize("case", EACH, ids=str)
@pytest.mark.parametrize("mode", ["head", "head as it is"])
def test_a_head_is_as_high_and_as_low_as_asked(
    case: Case, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    crop, _ = crop_case(monkeypatch, case, MODES[mode])
    assert crop.head_height == pytest.approx(0.7, abs=1e-3)
    assert crop.eye_line == pytest.approx(0.4, abs=1e-3)
    eyes = shown_at(crop.frame, case.points[:2].mean(axis=0))
    assert eyes == pytest.approx((413 / 2, 0.4 * 531), abs=0.05)
    assert crop.eye_distance == pytest.approx(case.eyes, rel=1e-3)


# --- shape and size ---------------------------------------------------------------------------


def test_native_pixels_are_those_of_the_photograph(monkeypatch: pytest.MonkeyPatch) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (300, 401, 3), np.uint8)
    points = points_at((200.3, 150.7), 30, 5)
    crop, pixels = crop_known(monkeypatch, as_file(noise), points, settings(size=0))
    x, y, side = crop.square
    assert (pixels[:, :, ::-1] == noise[y : y + side, x : x + side]).all()
    assert (crop.frame.width, crop.frame.height, crop.frame.scale) == (side, side, 1)
    for border in ("reflect", "shrink", "color"):
        _, same = crop_known(monkeypatch, as_file(noise), points, settings(size=0, border=border))
        assert (same == pixels).all(), border


def test_native_crops_have_a_largest_side(monkeypatch: pytest.MonkeyPatch) -> None:
    picture = np.zeros((2600, 2700, 3), np.uint8)
    points = points_at((1300, 1300), 600, 0)
    for align in ("none", "level"):
        crop, _ = crop_known(monkeypatch, as_file(picture), points, settings(size=0, align=align))
        frame = crop.frame
        assert (frame.width, frame.height) == (MOST_CROP_SIDE, MOST_CROP_SIDE)
        assert frame.scale == pytest.approx(MOST_CROP_SIDE / (600 * 3.1 * 1.4), rel=1e-3)


@pytest.mark.parametrize("align", ["none", "level", "arcface", "ffhq"])
def test_nothing_is_enlarged_where_that_is_not_wanted(
    align: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = CASES[0]
    cut = settings(width=800, height=1000, enlarge="no", align=align)
    crop, _ = crop_case(monkeypatch, case, cut)
    assert crop.frame.scale == pytest.approx(1)
    assert crop.frame.width / crop.frame.height == pytest.approx(0.8, abs=0.01)
    small, _ = crop_case(monkeypatch, case, settings(size=50, enlarge="no", align=align))
    assert (small.frame.width, small.frame.height) == (50, 50)
    assert small.frame.scale < 1


def test_a_shape_grows_from_the_padded_square(monkeypatch: pytest.MonkeyPatch) -> None:
    case = CASES[3]
    x, y, w, h = box_of(case.points)
    for width, height in ((400, 300), (300, 400)):
        crop, _ = crop_case(monkeypatch, case, settings(width=width, height=height))
        left, top = shown_at(crop.frame, (x + w / 2 - 0.7 * h, y + h / 2 - 0.7 * h))
        assert (left, top) == pytest.approx(((width - 300) / 2, (height - 300) / 2), abs=1)
        assert crop.frame.scale == pytest.approx(300 / (1.4 * h), rel=0.01)


def test_a_smaller_side_alone_is_the_other_one_too() -> None:
    for given_side in ({"width": 64}, {"height": 64}):
        frame = place((0, 0, 50, 50), None, (99, 99), 0, settings(size=0, **given_side)).frame
        assert (frame.width, frame.height) == (64, 64)


# --- past the border ----------------------------------------------------------------------------


NEAR_THE_CORNER = Case(40, 25, (45, 40), (401, 300))


def test_outside_is_counted_for_turned_frames_too(monkeypatch: pytest.MonkeyPatch) -> None:
    for cut in (LEVEL, settings(width=100, height=300), FFHQ, PNG, HEAD):
        crop, _ = crop_case(monkeypatch, NEAR_THE_CORNER, cut)
        # by counting: the centres of the crop's pixels, taken back to the photograph
        width, height = crop.frame.width, crop.frame.height
        rows, columns = np.mgrid[:height, :width] + 0.5
        matrix = np.array(crop.frame.matrix).reshape(2, 3)
        back = np.linalg.solve(
            matrix[:, :2], np.stack([columns.ravel(), rows.ravel()]) - matrix[:, 2:]
        )
        past = (back < 0).any(axis=0) | (back[0] > 401) | (back[1] > 300)
        assert 0.05 < crop.outside == pytest.approx(past.mean(), abs=0.005)


def test_colour_fills_what_lies_outside_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    picture = np.full((300, 401, 3), 70, np.uint8)
    case = NEAR_THE_CORNER
    for cut in (
        settings(border="color", border_color="20FF80"),
        settings(border="color", border_color="20ff80", align="level"),
    ):
        crop, pixels = crop_known(monkeypatch, as_file(picture), case.points, cut)
        painted = (pixels == (0x80, 0xFF, 0x20)).all(axis=2).mean()
        photograph = (pixels == 70).all(axis=2).mean()
        assert painted == pytest.approx(crop.outside, abs=0.02)
        assert photograph == pytest.approx(1 - crop.outside, abs=0.02)


@pytest.mark.parametrize("at", [(45, 40), (380, 290), (10, 150), (200, 296)])
@pytest.mark.parametrize("mode", ["box", "level", "head", "deep", "native"])
def test_a_mirrored_border_is_the_photograph_mirrored(
    mode: str, at: tuple[float, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = settings(frame="head", head_height=0.2, eye_line=0.1)  # its middle is far below the face
    cut = {**MODES, "deep": deep}[mode].model_copy(update={"border": "reflect"})
    case = Case(16, 25, at, (401, 300))
    picture = smooth_noise(case.size)
    crop, pixels = crop_known(monkeypatch, as_file(picture), case.points, cut)
    assert crop.outside > 0.01
    padded = np.pad(picture, ((300, 300), (300, 300), (0, 0)), "symmetric")
    _, expected = crop_known(monkeypatch, as_file(padded), case.points + 300, cut)
    assert np.abs(pixels.astype(int) - expected).max() <= 3


def smooth_noise(size: tuple[int, int]) -> Pixels:
    noise = np.random.default_rng(1).integers(0, 256, (size[1], size[0], 3)).astype(np.uint8)
    return np.asarray(cv2.GaussianBlur(noise, (0, 0), 6), np.uint8)


@pytest.mark.parametrize("case", EACH, ids=str)
@pytest.mark.parametrize("mode", MODES)
def test_shrink_leaves_nothing_outside_and_the_shape_as_it_was(case: Case, mode: str) -> None:
    cut = MODES[mode].model_copy(update={"border": "shrink", "padding": 0.8})
    size = case.size
    points = [tuple(point) for point in case.points.tolist()]
    frame = place(box_of(case.points).tolist(), points, size, case.quarters, cut).frame
    assert outside(frame, *size) == 0
    whole = place(
        box_of(case.points).tolist(), points, (10**6, 10**6), case.quarters,
        cut.model_copy(update={"border": "reflect"}),
    ).frame  # fmt: skip
    shape = frame.width / frame.height
    assert shape == pytest.approx(whole.width / whole.height, abs=0.01)


@given(
    st.floats(-500, 900), st.floats(-500, 900), st.floats(0, 360), st.floats(0.05, 20),
    st.integers(1, 400), st.integers(1, 400),
)  # fmt: skip
def test_outside_is_a_share(
    x: float, y: float, angle: float, scale: float, width: int, height: int
) -> None:
    turn = complex(math.cos(angle), math.sin(angle)) * scale
    frame = frame_of(Similarity(turn, -turn * complex(x, y)), width, height)
    share = outside(frame, 401, 300)
    assert 0 <= share <= 1
    # a quarter turn of the photograph, and its frame with it, changes nothing
    back = quarter_turns(1, 401, 300)
    linear = 1 / back.linear
    other = Similarity(turn, -turn * complex(x, y)).after(Similarity(linear, -linear * back.offset))
    assert outside(frame_of(other, width, height), 300, 401) == pytest.approx(share, abs=1e-6)


# --- faces without landmarks, and turned photographs ---------------------------------------------


@pytest.mark.parametrize("cut", [LEVEL, ARC, FFHQ, HEAD])
def test_a_face_without_landmarks_is_cut_upright_and_told_of(cut: CutSettings) -> None:
    detection = DetectionSettings(method="haar")
    data = astronaut_jpeg()
    found = crop_faces(data, make_detector(detection), detection, cut, 10**8)
    assert found.crops
    assert found.warnings == [ImageWarning.UNALIGNED]
    plain = cut.model_copy(update={"align": "none", "frame": "box"})
    upright = crop_faces(data, make_detector(detection), detection, plain, 10**8)
    assert [one.data for one in found.crops] == [one.data for one in upright.crops]
    assert upright.warnings == []
    assert found.crops[0].head_height is found.crops[0].eye_line is None


def test_eyes_in_one_place_give_no_line() -> None:
    points = [(150.0, 150.0)] * 5
    for cut in (LEVEL, ARC, FFHQ, HEAD):
        placed = place((100, 100, 100, 100), points, (400, 300), 0, cut)
        assert not placed.as_asked
        assert placed.frame.similarity.linear.imag == 0


@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
def test_the_matrix_of_a_turned_photograph_holds_for_the_default_crop(
    quarters: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = Case(110, -90 * quarters, (420.5, 390.25), (903, 801), quarters=quarters)
    crop, pixels = crop_case(monkeypatch, case, PNG)
    assert crop.frame.exact
    for point in case.points:
        expected = shown_at(crop.frame, point)
        seen = seen_at(pixels, expected, case.eyes * crop.frame.scale)
        assert math.dist(seen, expected) < 0.5  # it is cut by whole pixels


# --- the default ---------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_default_crops_are_what_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    """To the bit, those of a version that had nothing but the square."""
    digest = hashlib.sha256()
    for photograph in photographs():
        files = [photograph.path.read_bytes()]
        if len(photograph.faces):
            larger = photograph.upright().resize((2403, 2001))  # above what is decoded whole
            files += [encoded(larger, "JPEG", orientation) for orientation in (1, 6)]
        for data in files:
            for quarters in (0, 1):
                for crop in faces_of(monkeypatch, data, photograph.faces, quarters):
                    digest.update(crop.data)
    assert digest.hexdigest()[:16] == "2c69099d69971c58"


def faces_of(
    monkeypatch: pytest.MonkeyPatch, data: bytes, boxes: NDArray[np.float32], quarters: int
) -> list[Crop]:
    """The crops of a photograph's faces, were they found in these boxes."""
    count = len(boxes)
    faces = Faces(boxes, np.ones(count, np.float32), np.full((count, 5, 2), np.nan, np.float32))
    monkeypatch.setattr(image, "find_faces", lambda *_: Found(faces, quarters, may_miss=False))
    return crop_faces(data, NoDetector(), DetectionSettings(), PNG, 10**8).crops

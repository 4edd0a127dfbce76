"""Small faces in large photographs: which passes are run, and that no face is lost or doubled."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from detection.codecs.decode import Source
from detection.decoded import Decoded
from detection.detectors.base import Faces
from detection.detectors.overlap import iou, share_inside, with_unsure
from detection.errors import ImageWarning
from detection.image import crop_faces, make_detector
from detection.passes import Found, find_faces, first_share
from detection.settings import CutSettings, DetectionSettings
from detection.tiles import OVERLAP, TILE, search
from tests.photographs import Photograph, photographs
from tests.pictures import astronaut, bgr, encoded

MAX_PIXELS = 100_000_000
GREY = (96, 104, 112)
FACE = np.array([180, 68, 88, 110], np.float32) / 512  # x, y, w, h of the astronaut's
FAST, BALANCED, THOROUGH = (
    DetectionSettings(profile="fast"),
    DetectionSettings(),
    DetectionSettings(profile="thorough"),
)
PHOTOGRAPHS = photographs()

Boxes = NDArray[np.float32]


class Counted:
    """A detector, and the sizes of what it was shown."""

    def __init__(self, settings: DetectionSettings) -> None:
        self._detector = make_detector(settings)
        self.sizes: list[tuple[int, int]] = []

    def detect(self, image: NDArray[np.uint8]) -> Faces:
        self.sizes.append((image.shape[1], image.shape[0]))
        return self._detector.detect(image)


def find(image: Image.Image, detector: Counted, settings: DetectionSettings) -> Found:
    source = Source.open(encoded(image, "JPEG", quality=92), MAX_PIXELS)
    return find_faces(Decoded(source), detector, settings)


def astronauts(size: tuple[int, int], side: int, step: int) -> tuple[Image.Image, Boxes]:
    """Astronauts of one side on a grey canvas, a step apart, and their faces."""
    image, boxes = Image.new("RGB", size, GREY), []
    for top in range(7, size[1] - side, step):
        for left in range(11, size[0] - side, step):
            image.paste(astronaut(side), (left, top))
            boxes.append(FACE * side + np.array([left, top, 0, 0], np.float32))
    return image, np.asarray(boxes, np.float32)


def recall(found: Boxes, faces: Boxes) -> float:
    return float(np.mean([bool((iou(face, found) >= 0.5).any()) for face in faces]))


def test_one_large_face_in_24_megapixels_takes_one_pass() -> None:
    image = Image.new("RGB", (6000, 4000), GREY)
    image.paste(astronaut(3000), (1500, 500))
    detector = Counted(BALANCED)
    assert len(find(image, detector, BALANCED).faces) == 1
    assert detector.sizes == [(750, 500)]


@pytest.mark.parametrize("photo", PHOTOGRAPHS, ids=[one.path.stem for one in PHOTOGRAPHS])
def test_ordinary_photographs_give_what_one_pass_gives(photo: Photograph) -> None:
    image = photo.upright()
    if (photo.faces[:, 2:] > 0.4 * max(image.size)).any():
        pytest.skip("It is a close-up, which has a coarser pass.")
    if image.width * image.height > 2_000_000:
        image.thumbnail((1600, 1200))
    data = encoded(image, "JPEG", quality=92)
    once = DetectionSettings(side=640)
    crops = [
        crop_faces(data, make_detector(one), one, CutSettings(), MAX_PIXELS).crops
        for one in (BALANCED, once)
    ]
    assert crops[0] == crops[1]
    source = Source.open(data, MAX_PIXELS)
    share = first_share(source, once.passes)
    assert first_share(source, BALANCED.passes) == pytest.approx(share)


@pytest.mark.parametrize("size", [(6000, 4000), (4000, 3000), (12_000, 1500), (1500, 12_000)])
def test_balanced_finds_small_faces_in_large_pictures(size: tuple[int, int]) -> None:
    image, faces = astronauts(size, 400, 700)  # of some 86 pixels
    detector = Counted(BALANCED)
    found = find(image, detector, BALANCED)
    assert recall(found.faces.boxes, faces) == 1
    assert len(found.faces) == len(faces)  # none twice
    assert len(detector.sizes) > 1
    assert max(map(max, detector.sizes[1:])) <= TILE


def test_thorough_goes_down_to_full_scale() -> None:
    image, faces = astronauts((4000, 3000), 150, 400)  # of some 32 pixels
    balanced = find(image, Counted(BALANCED), BALANCED).faces
    thorough = find(image, Counted(THOROUGH), THOROUGH).faces
    assert recall(thorough.boxes, faces) >= 0.97
    assert len(thorough) <= len(faces)
    assert len(balanced) < len(thorough)


def test_a_finer_pass_keeps_to_where_it_has_reason() -> None:
    image = Image.new("RGB", (6000, 4000), GREY)
    for left in range(100, 1800, 550):
        image.paste(astronaut(500), (left, 300))
    detector = Counted(BALANCED)
    find(image, detector, BALANCED)
    tiles = [size for size in detector.sizes[1:] if min(size) > 400]
    assert 1 <= len(tiles) <= 4  # of twelve


@pytest.mark.parametrize("side", [150, 300, 500])
def test_a_face_on_a_tiles_border_is_found_once(side: int) -> None:
    picture = bgr(Image.new("RGB", (TILE * 2, TILE), GREY))
    detector = make_detector(BALANCED)
    for left in range(TILE - side - OVERLAP, TILE + OVERLAP, 61):
        pixels = picture.copy()
        pixels[300 : 300 + side, left : left + side] = bgr(astronaut(side))
        whole, cut = search(pixels, detector, None, 0.3)
        faces = with_unsure(whole, cut, 0.7, 0.3)
        faces = faces.take(np.flatnonzero(faces.scores >= 0.7))
        assert len(faces) == 1, left
        face = (FACE * side + [left, 300, 0, 0]).astype(np.float32)
        assert recall(faces.boxes, face[None]) == 1, left


def test_what_lies_outside_the_picture_gives_no_reason() -> None:
    pixels = np.zeros((200, 300, 3), np.uint8)
    outside = np.array([[-50, -50, 20, 20]], np.float32)
    whole, cut = search(pixels, make_detector(BALANCED), outside, 0.3)
    assert len(whole) == len(cut) == 0


def test_a_face_that_is_larger_than_the_overlap_is_left_to_the_coarser_pass() -> None:
    image = Image.new("RGB", (6000, 4000), GREY)
    image.paste(astronaut(3000), (1500, 500))  # its face lies across tiles
    for left in range(100, 1300, 400):
        image.paste(astronaut(200), (left, 100))  # these give reason for finer passes
    detector = Counted(THOROUGH)
    faces = find(image, detector, THOROUGH).faces
    assert len(detector.sizes) > 10
    large = (FACE * 3000 + [1500, 500, 0, 0]).astype(np.float32)
    assert recall(faces.boxes, large[None]) == 1
    assert (share_inside(large, faces.boxes) > 0.01).sum() == 1


def test_what_only_a_cut_face_shows_is_kept() -> None:
    def made(*boxes: tuple[int, ...]) -> Faces:
        count = len(boxes)
        points = np.zeros((count, 5, 2), np.float32)
        array = np.array(boxes, np.float32).reshape(-1, 4)
        return Faces(array, np.full(count, 0.9, np.float32), points)

    whole = made((0, 0, 100, 100))
    cut = made((0, 0, 40, 100), (300, 0, 40, 100), (20, 0, 130, 100))
    assert with_unsure(whole, cut, 0.7, 0.3).boxes[:, 0].tolist() == [0, 300]
    baby = made((20, 20, 30, 30))
    assert len(with_unsure(baby, whole, 0.7, 0.3)) == 2  # it lies in the other, and is none of it
    doubtful = Faces(whole.boxes, whole.scores - np.float32(0.4), whole.landmarks)
    assert with_unsure(doubtful, cut, 0.7, 0.3).scores.max() == np.float32(0.9)
    assert len(with_unsure(made(), made((0, 0, 40, 100)), 0.7, 0.3)) == 1


@pytest.mark.parametrize("side", [640, pytest.param(4000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("room", [1.0, 1.1, 1.3])
def test_a_face_that_fills_the_frame_is_found(room: float, side: int) -> None:
    single = [one for one in PHOTOGRAPHS if len(one.faces) == 1 and min(one.faces[0, 2:]) > 80]
    assert len(single) >= 5
    for photo in single:
        x, y, w, h = photo.faces[0] + np.array([0.5, 0.5, 0, 0]) * np.tile(photo.faces[0, 2:], 2)
        part = photo.upright().crop(
            (
                int(x - w * room / 2),
                int(y - h * room / 2),
                int(x + w * room / 2),
                int(y + h * room / 2),
            )
        )
        scale = side / max(part.size)
        part = part.resize((round(part.width * scale), round(part.height * scale)))
        face = np.array([part.width, part.height] * 2, np.float32) / np.float32(room)
        face[:2] = np.array(part.size) / 2 - face[2:] / 2
        found = find(part, Counted(BALANCED), BALANCED).faces
        assert recall(found.boxes, face[None]) == 1, photo.path.name


def test_a_coarser_pass_is_for_close_ups_alone() -> None:
    for side, sides in ((1000, [640]), (1600, [640, 256])):  # a face of 190 pixels, of 306
        left, top = round(0.44 * side) - 320, max(0, round(0.24 * side) - 320)
        detector = Counted(BALANCED)
        find(astronaut(side).crop((left, top, left + 640, top + 640)), detector, BALANCED)
        assert [max(size) for size in detector.sizes] == sides


def warnings(image: Image.Image, settings: DetectionSettings) -> list[ImageWarning]:
    data = encoded(image, "JPEG", quality=92)
    return crop_faces(data, make_detector(settings), settings, CutSettings(), MAX_PIXELS).warnings


def test_it_says_where_smaller_faces_may_be_missing() -> None:
    small, _ = astronauts((1600, 1200), 150, 300)  # of 13 pixels at 640
    large, _ = astronauts((1600, 1200), 500, 600)
    missing = [ImageWarning.SMALL_FACES]
    assert warnings(small, BALANCED) == missing
    assert warnings(small, THOROUGH) == []  # at full scale there is nothing finer
    assert warnings(large, BALANCED) == []
    on_purpose = BALANCED.model_copy(update={"min_face": 60})
    assert warnings(small, on_purpose) == []
    haar = DetectionSettings(method="haar")
    assert warnings(small, haar) == []


def test_fast_takes_one_pass_however_large_the_picture() -> None:
    image, _ = astronauts((4000, 3000), 600, 700)
    detector = Counted(FAST)
    find(image, detector, FAST)
    assert detector.sizes == [(384, 288)]


@pytest.mark.parametrize("mib", [150, 400])
def test_finer_pixels_keep_to_the_memory_that_is_allowed(mib: int) -> None:
    image, _ = astronauts((8000, 5000), 300, 1500)
    data = encoded(image, "JPEG", quality=92)
    source = Source.open(data, MAX_PIXELS, mib)
    decoded = Decoded(source)
    finest = source.reduction_within_memory(1)
    assert (finest > 1) == (mib == 150)
    find_faces(decoded, make_detector(THOROUGH), THOROUGH)
    assert decoded.reduction == finest
    assert source.warnings == set()  # of what crops lack, it is not the time to say


def test_long_shapes_have_as_many_pixels_as_others() -> None:
    pixels = []
    for size in ((6000, 4000), (12_000, 2000), (2000, 12_000)):
        picture = np.zeros((size[1], size[0], 3), np.uint8)
        source = Source.open(cv2.imencode(".png", picture)[1].tobytes(), MAX_PIXELS)
        pixels.append(24e6 * first_share(source, BALANCED.passes) ** 2)
    assert min(pixels) >= 0.7 * max(pixels)
    assert max(pixels) <= 1.1e6

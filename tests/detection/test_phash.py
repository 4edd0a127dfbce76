"""The hash of a picture: alike for the same at any size, far from that of another."""

import itertools

import cv2
import numpy as np
import pytest
from skimage import data

from detection.image import crop_faces, make_detector
from detection.phash import phash
from detection.settings import CutSettings, DetectionSettings
from tests.pictures import astronaut, bgr, coffee, encoded

NAMES = ("astronaut", "coffee", "chelsea", "rocket", "hubble_deep_field", "immunohistochemistry")
SCALES = (cv2.IMREAD_COLOR, cv2.IMREAD_REDUCED_COLOR_2, cv2.IMREAD_REDUCED_COLOR_4)
ALIKE, APART = 8, 16  # bits: at most between forms of a picture, at least between two


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    return [np.ascontiguousarray(getattr(data, name)()[..., ::-1]) for name in NAMES]


def apart(one: str, other: str) -> int:
    return (int(one, 16) ^ int(other, 16)).bit_count()


def test_a_picture_has_nearly_the_same_hash_however_it_was_coded(
    pictures: list[np.ndarray],
) -> None:
    for pixels in pictures:
        coded = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 50])[1]
        forms = [
            *(cv2.imdecode(coded, scale) for scale in SCALES),
            cv2.resize(pixels, None, fx=1.7, fy=1.7, interpolation=cv2.INTER_CUBIC),
            cv2.convertScaleAbs(pixels, alpha=0.8, beta=10),
        ]
        found = [phash(np.asarray(form, np.uint8)) for form in forms]
        assert max(apart(phash(pixels), one) for one in found) <= ALIKE
    hashes = [phash(pixels) for pixels in pictures]
    assert min(apart(*pair) for pair in itertools.combinations(hashes, 2)) >= APART


def test_what_has_no_structure_has_one_hash() -> None:
    assert {phash(np.full((90, 140, 3), grey, np.uint8)) for grey in (0, 77, 255)} == {"0" * 16}
    assert len(phash(np.zeros((1, 1, 3), np.uint8))) == 16


def test_an_image_has_the_hash_of_the_upright_picture_with_a_face_or_without() -> None:
    detection = DetectionSettings()
    cut = CutSettings().spelled_out()
    detector = make_detector(detection)
    for picture in (astronaut(), coffee()):
        hashes = [
            crop_faces(encoded(picture, "JPEG", turn), detector, detection, cut, 10**8).phash
            for turn in (1, 3, 6, 8)
        ]
        assert all(apart(phash(bgr(picture)), one) <= ALIKE for one in hashes)

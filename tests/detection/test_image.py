from __future__ import annotations

from collections.abc import Callable
from io import BytesIO

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from detection.codecs.decode import Source
from detection.crop import cut
from detection.decoded import WHOLE_DECODE_PIXELS
from detection.detectors.base import Detector, Faces
from detection.detectors.haar import Haar
from detection.detectors.overlap import iou
from detection.detectors.yunet import Yunet
from detection.image import crop_faces, make_detector
from detection.result import Crop
from detection.result import Image as Result
from detection.settings import CutSettings, DetectionSettings
from tests.pictures import (
    EXIF_ORIENTATION,
    astronaut,
    astronaut_jpeg,
    bgr,
    coffee,
    encoded,
    group,
    no_face_jpeg,
    stored_turned,
)

MAX_PIXELS = 100_000_000
ASTRONAUT = (175, 65, 100, 135)  # the face of the 512 x 512 picture, by eye

Pixels = NDArray[np.uint8]


@pytest.fixture(scope="module")
def yunet() -> Yunet:
    return Yunet(0.7, 0.3)


def crop(
    data: bytes,
    detector: Detector,
    detection: DetectionSettings | None = None,
    settings: CutSettings | None = None,
) -> Result:
    return crop_faces(
        data, detector, detection or DetectionSettings(), settings or CutSettings(), MAX_PIXELS
    )


def overlap(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    return float(iou(np.asarray(a, np.float32), np.asarray([b], np.float32))[0])


def decoded(face: Crop) -> Pixels:
    with Image.open(BytesIO(face.data)) as image:
        return bgr(image)


def psnr(a: Pixels, b: Pixels) -> float:
    return float(cv2.PSNR(a, b))


# --- finding --------------------------------------------------------------------------------------


def test_the_astronaut_has_one_face_with_ordered_landmarks(yunet: Yunet) -> None:
    image = crop(astronaut_jpeg(), yunet)
    assert (image.width, image.height) == (512, 512)
    (face,) = image.crops
    assert face.rank == 0
    assert overlap(face.box, ASTRONAUT) > 0.6
    assert face.score is not None
    assert 0.7 <= face.score <= 1
    assert face.landmarks is not None
    right_eye, left_eye, nose, right_mouth, left_mouth = face.landmarks
    # the person's right is on the picture's left
    assert right_eye[0] < nose[0] < left_eye[0]
    assert right_mouth[0] < left_mouth[0]
    assert max(right_eye[1], left_eye[1]) < nose[1] < min(right_mouth[1], left_mouth[1])
    x, y, w, h = face.box
    assert all(x < px < x + w and y < py < y + h for px, py in face.landmarks)
    assert decoded(face).shape == (300, 300, 3)
    assert face.sharpness > 0
    assert min(image.decode_ms, image.detect_ms, image.crop_ms) > 0


def test_no_face_is_no_crop(yunet: Yunet) -> None:
    image = crop(no_face_jpeg(), yunet)
    assert (image.width, image.height, image.crops) == (600, 400, [])


@pytest.mark.parametrize("orientation", range(2, 9))
def test_boxes_are_in_the_upright_picture(yunet: Yunet, orientation: int) -> None:
    (upright,) = crop(astronaut_jpeg(400), yunet).crops
    (turned,) = crop(astronaut_jpeg(400, orientation), yunet).crops
    np.testing.assert_allclose(turned.box, upright.box, atol=3)
    assert turned.landmarks is not None
    assert upright.landmarks is not None
    np.testing.assert_allclose(turned.landmarks, upright.landmarks, atol=3)
    assert psnr(decoded(turned), decoded(upright)) > 25


@pytest.mark.parametrize("orientation", [1, 6, 7])
def test_boxes_are_in_the_full_picture_after_reduced_decoding(
    yunet: Yunet, orientation: int
) -> None:
    big = astronaut(2100)
    assert big.width * big.height > WHOLE_DECODE_PIXELS
    image = crop(encoded(big, "JPEG", orientation), yunet)
    assert (image.width, image.height) == (2100, 2100)
    scale = 2100 / 512
    assert overlap(image.crops[0].box, tuple(value * scale for value in ASTRONAUT)) > 0.6


def test_memory_views_are_read_like_bytes(yunet: Yunet) -> None:
    data = astronaut_jpeg()
    image = crop_faces(
        memoryview(data), yunet, DetectionSettings(), CutSettings(), MAX_PIXELS
    )  # fmt: skip
    assert image.crops == crop(data, yunet).crops


def test_haar_finds_the_astronaut_without_scores() -> None:
    settings = DetectionSettings(method="haar")
    image = crop_faces(
        astronaut_jpeg(), make_detector(settings), settings, CutSettings(max_faces=1), MAX_PIXELS
    )
    (face,) = image.crops
    assert overlap(face.box, ASTRONAUT) > 0.4
    assert face.score is None
    assert face.landmarks is None
    assert decoded(face).shape == (300, 300, 3)


def test_haar_finds_nothing_in_nothing() -> None:
    faces = Haar().detect(np.zeros((60, 80, 3), np.uint8))
    assert faces.boxes.shape == (0, 4)
    assert faces.landmarks.shape == (0, 5, 2)


def test_a_model_that_is_not_there_is_one_clear_line() -> None:
    with pytest.raises(ValueError, match=r"The model file /no/such\.onnx cannot be read") as caught:
        make_detector(DetectionSettings(model="/no/such.onnx"))
    assert "\n" not in str(caught.value)


# --- choosing -------------------------------------------------------------------------------------

GROUP_SIZES = (200, 400, 300)


@pytest.fixture(scope="module")
def several() -> bytes:
    return encoded(group(GROUP_SIZES, (900, 400)), "JPEG", quality=92)


@pytest.mark.parametrize(
    ("max_faces", "sizes"),
    [(0, (400, 300, 200)), (1, (400,)), (2, (400, 300)), (9, (400, 300, 200))],
)
def test_the_largest_faces_come_first(
    yunet: Yunet, several: bytes, max_faces: int, sizes: tuple[int, ...]
) -> None:
    crops = crop(several, yunet, settings=CutSettings(max_faces=max_faces)).crops
    assert [face.rank for face in crops] == list(range(len(sizes)))
    lefts = {200: 0, 400: 200, 300: 600}
    for face, size in zip(crops, sizes, strict=True):
        x, y, w, h = (value * size / 512 for value in ASTRONAUT)
        assert overlap(face.box, (x + lefts[size], y, w, h)) > 0.6


def test_faces_below_the_smallest_are_left_out(yunet: Yunet, several: bytes) -> None:
    shorter = [min(face.box[2:]) for face in crop(several, yunet).crops]
    between = round((shorter[1] + shorter[2]) / 2)
    kept = crop(several, yunet, DetectionSettings(min_face=between)).crops
    assert [min(face.box[2:]) for face in kept] == shorter[:2]


def test_faces_below_the_score_are_left_out(several: bytes) -> None:
    scores = sorted(face.score or 0 for face in crop(several, Yunet(0.5, 0.3)).crops)
    assert scores[0] < scores[1]
    between = (scores[0] + scores[1]) / 2
    settings = DetectionSettings(min_score=between)
    kept = crop(several, make_detector(settings), settings).crops
    assert sorted(face.score or 0 for face in kept) == scores[1:]


def test_the_same_comes_out_every_time(several: bytes) -> None:
    runs = [crop(several, Yunet(0.7, 0.3)).crops for _ in range(3)]
    assert runs[0] == runs[1] == runs[2]


class Given:
    """A detector that finds the same boxes in every picture."""

    def __init__(self, boxes: list[tuple[int, int, int, int]]) -> None:
        self.boxes = np.asarray(boxes, np.float32)

    def detect(self, image: Pixels) -> Faces:
        count = len(self.boxes)
        return Faces(self.boxes, np.ones(count, np.float32), np.zeros((count, 5, 2), np.float32))


def test_equal_faces_come_from_the_top_then_from_the_left() -> None:
    boxes = [(200, 90, 50, 50), (10, 90, 50, 50), (100, 20, 50, 50), (5, 5, 40, 40)]
    crops = crop(astronaut_jpeg(), Given(boxes)).crops
    assert [face.box for face in crops] == [boxes[2], boxes[1], boxes[0], boxes[3]]


def test_faces_centred_outside_the_picture_are_left_out() -> None:
    inside = (490, 400, 40, 40)
    outside = [(493, 400, 40, 40), (-30, 50, 40, 40), (50, -30, 40, 40), (50, 500, 40, 40)]
    crops = crop(astronaut_jpeg(), Given([*outside, inside])).crops
    assert [face.box for face in crops] == [inside]


# --- cutting --------------------------------------------------------------------------------------


def small_face() -> Image.Image:
    """4.9 MP; the face's square is 150 px, less than a crop."""
    image = coffee().resize((2700, 1800), Image.Resampling.BICUBIC)
    image.paste(astronaut(512), (1500, 700))
    return image


def large_face() -> Image.Image:
    """5.8 MP; the face's square is about 800 px."""
    return astronaut(2400)


@pytest.mark.parametrize(
    ("picture", "orientation", "least"),
    # The small face needs the whole decode: the same to the bit, against 26 dB from half of the
    # size. The large one is cut from half, as 732 px would be averaged to 300 anyway: 52 dB,
    # against 29 from a quarter.
    [*((small_face, orientation, 100) for orientation in range(1, 9)), (large_face, 1, 45)],
)
def test_crops_have_the_detail_of_the_full_picture(
    yunet: Yunet, picture: Callable[[], Image.Image], orientation: int, least: float
) -> None:
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    data = encoded(stored_turned(picture(), orientation), "JPEG", quality=92, exif=exif)
    settings = CutSettings(format="png")
    image = crop(data, yunet, DetectionSettings(side=640), settings)
    assert image.width * image.height > WHOLE_DECODE_PIXELS
    face = image.crops[0]
    full = Source.open(data, MAX_PIXELS).decode()
    assert psnr(decoded(face), cut(full, face.square, 1, settings.size)) > least


def test_a_face_at_the_edge_is_cut_with_the_border_repeated(yunet: Yunet) -> None:
    picture = astronaut().crop((185, 75, 512, 512))  # through the temple and the hair
    (face,) = crop(encoded(picture, "PNG"), yunet, settings=CutSettings(format="png")).crops
    assert face.square.x < 0
    assert face.square.y < 0
    pixels = decoded(face)
    outside = int(-face.square.x / face.square.side * 300) - 2
    assert (np.ptp(pixels[:, :outside].astype(int), axis=1) <= 1).all()


@pytest.mark.parametrize("size", [64, 300, 512])
def test_the_size_is_what_was_asked_for(yunet: Yunet, size: int) -> None:
    (face,) = crop(astronaut_jpeg(), yunet, settings=CutSettings(size=size)).crops
    assert decoded(face).shape == (size, size, 3)
    x, y, w, h = face.box
    assert abs(face.square.side - 1.4 * max(w, h)) <= 0.5
    assert abs(face.square.x + face.square.side / 2 - (x + w / 2)) <= 1
    assert abs(face.square.y + face.square.side / 2 - (y + h / 2)) <= 1


@pytest.mark.parametrize("size", [(1, 1), (3, 2000), (2000, 1)])
@pytest.mark.parametrize("method", ["yunet", "haar"])
def test_slivers_are_read(method: str, size: tuple[int, int]) -> None:
    detection = DetectionSettings.model_validate({"method": method})
    data = encoded(astronaut().resize(size), "PNG")
    image = crop_faces(data, make_detector(detection), detection, CutSettings(), MAX_PIXELS)
    assert (image.width, image.height, image.crops) == (*size, [])

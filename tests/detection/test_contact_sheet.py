import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from detection.contact_sheet import contact_sheet, thumbnail
from detection.crop import encode
from detection.options import ImageFormat

GAP = 4
RED, BLUE = (30, 30, 220), (220, 30, 30)  # BGR


def crop(
    colour: tuple[int, int, int], width: int = 60, height: int = 60, kind: ImageFormat = "png"
) -> bytes:
    return encode(np.full((height, width, 3), colour, np.uint8), kind, 95)


def decoded(data: bytes | None) -> NDArray[np.uint8]:
    assert data is not None
    assert data.startswith(b"\xff\xd8")
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert pixels is not None
    return np.asarray(pixels, np.uint8)


def centre(sheet: NDArray[np.uint8], row: int, column: int, cell: int) -> NDArray[np.uint8]:
    """The middle pixel of a cell."""
    step = cell + GAP
    return np.asarray(sheet[GAP + row * step + cell // 2, GAP + column * step + cell // 2])


def near(pixel: NDArray[np.uint8], colour: tuple[int, int, int]) -> bool:
    return bool(np.abs(pixel.astype(int) - colour).max() < 12)


@pytest.mark.parametrize("kind", ["jpg", "png", "webp"])
def test_crops_stand_in_rows_in_their_order(kind: ImageFormat) -> None:
    sheet = decoded(contact_sheet([crop(RED, kind=kind), crop(BLUE), crop(RED)], 2, 40))
    assert sheet.shape == (2 * 44 + GAP, 2 * 44 + GAP, 3)
    assert near(centre(sheet, 0, 0, 40), RED)
    assert near(centre(sheet, 0, 1, 40), BLUE)
    assert near(centre(sheet, 1, 0, 40), RED)
    empty = centre(sheet, 1, 1, 40).astype(int)
    assert np.ptp(empty) < 12  # grey


@pytest.mark.parametrize("size", [(30, 15), (900, 450), (15, 30), (2, 1)])
def test_a_crop_of_any_size_is_fitted_whole_into_its_cell(size: tuple[int, int]) -> None:
    sheet = decoded(contact_sheet([crop(RED, *size)], 1, 64))
    rows, columns = np.nonzero(sheet[:, :, 2] > 127)
    wide, high = (64, 32) if size[0] > size[1] else (32, 64)
    assert abs(np.ptp(columns) + 1 - wide) <= 4
    assert abs(np.ptp(rows) + 1 - high) <= 4


def test_what_cannot_be_decoded_is_left_out() -> None:
    sheet = decoded(contact_sheet([b"", b"no image", crop(RED)[:20], crop(BLUE)], 2, 40))
    assert sheet.shape[0] == 44 + GAP
    assert near(centre(sheet, 0, 0, 40), BLUE)


def test_without_crops_there_is_one_empty_row() -> None:
    sheet = decoded(contact_sheet([], 3, 20))
    assert sheet.shape == (24 + GAP, 3 * 24 + GAP, 3)


def test_a_thumbnail_has_the_side_asked_for_and_the_proportions_of_the_crop() -> None:
    assert decoded(thumbnail(crop(RED, 300, 300), 96)).shape == (96, 96, 3)
    assert decoded(thumbnail(crop(RED, 300, 150), 96)).shape == (48, 96, 3)
    assert decoded(thumbnail(crop(RED, 10, 10), 96)).shape == (96, 96, 3)


@pytest.mark.parametrize("data", [b"", b"no image"])
def test_there_is_no_thumbnail_of_what_is_no_image(data: bytes) -> None:
    assert thumbnail(data, 96) is None

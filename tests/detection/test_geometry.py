from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from detection.detectors.overlap import iou, suppress
from detection.geometry import Square, square_around

Box = tuple[int, int, int, int]


def f32(values: Sequence[float] | Sequence[Sequence[float]]) -> NDArray[np.float32]:
    return np.asarray(values, dtype=np.float32)


# Whole numbers, so that float32 holds every area exactly and no IoU is within its error of a bound.
place, side = st.integers(-50, 50), st.integers(0, 50)
boxes_strategy = st.lists(st.tuples(place, place, side, side), min_size=1, max_size=12)
bound = st.sampled_from((0.0, 0.1, 0.3, 0.5, 0.9))


def plain_iou(a: Box, b: Box) -> float:
    width = max(0, min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0]))
    height = max(0, min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1]))
    union = a[2] * a[3] + b[2] * b[3] - width * height
    return width * height / union if union else 0.0


def plain_suppress(boxes: list[Box], scores: list[float], max_overlap: float) -> list[int]:
    kept: list[int] = []
    for index in sorted(range(len(boxes)), key=lambda index: -scores[index]):
        if all(plain_iou(boxes[index], boxes[better]) <= max_overlap for better in kept):
            kept.append(index)
    return kept


def test_iou_of_a_known_pair() -> None:
    result = iou(f32([0, 0, 10, 10]), f32([[5, 0, 10, 10], [20, 0, 1, 1]]))
    assert result.dtype == np.float32
    assert result.tolist() == pytest.approx([1 / 3, 0])


@given(boxes_strategy)
def test_iou_is_the_plain_one(boxes: list[Box]) -> None:
    result = iou(f32(boxes[0]), f32(boxes))
    assert result.tolist() == pytest.approx([plain_iou(boxes[0], box) for box in boxes], abs=1e-6)


@given(boxes_strategy, bound, st.data())
def test_suppress_is_the_plain_one(boxes: list[Box], most: float, data: st.DataObject) -> None:
    scores = data.draw(
        st.lists(st.sampled_from((0.25, 0.5, 0.75, 1.0)), min_size=len(boxes), max_size=len(boxes))
    )
    kept = suppress(f32(boxes), f32(scores), most)
    assert kept.tolist() == plain_suppress(boxes, scores, most)


def test_suppress_takes_no_boxes() -> None:
    assert suppress(np.empty((0, 4), np.float32), np.empty(0, np.float32), 0.3).tolist() == []


@given(
    st.tuples(
        st.floats(-1000, 9000, width=32),
        st.floats(-1000, 9000, width=32),
        st.floats(1, 3000, width=32),
        st.floats(1, 3000, width=32),
    ),
    st.floats(0, 2),
)
def test_square_is_centred_and_padded(
    box: tuple[float, float, float, float], padding: float
) -> None:
    x, y, w, h = box
    square = square_around(f32(box), padding)
    assert abs(square.side - max(w, h) * (1 + 2 * padding)) <= 0.5
    assert abs(square.x + square.side / 2 - (x + w / 2)) <= 1
    assert abs(square.y + square.side / 2 - (y + h / 2)) <= 1


def test_a_fifth_of_padding_makes_the_longer_side_1_4_times_as_long() -> None:
    assert square_around(f32([100, 200, 50, 100]), 0.2) == (55, 180, 140)


def test_square_of_a_speck_has_a_pixel() -> None:
    assert square_around(f32([5, 5, 0.1, 0.1]), 0).side == 1


def test_what_lies_outside_of_an_image_is_told() -> None:
    assert Square(0, 0, 100).outside(100, 200) == 0
    assert Square(-50, 10, 100).outside(100, 200) == 0.5
    assert Square(-50, 150, 100).outside(100, 200) == 0.75
    assert Square(-50, -50, 200).outside(100, 100) == 0.75
    assert Square(300, 0, 10).outside(100, 100) == 1

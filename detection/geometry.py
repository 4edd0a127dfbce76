"""Boxes and rectangles: overlap, suppression, and the square around a face.

A box is (x, y, w, h) in pixels, x to the right and y down from the upper left corner. Boxes are
float32 and may reach past the image's edge; a `Square` is in whole pixels and may, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Square(NamedTuple):
    """The part of the upright full image that becomes a crop, in whole pixels."""

    x: int
    y: int
    side: int


class Region(NamedTuple):
    """A part of the upright full image, in whole pixels; `right` and `bottom` are not in it."""

    left: int
    top: int
    right: int
    bottom: int


def iou(box: NDArray[np.float32], boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Intersection over union of one box (4,) with each of `boxes` (n, 4), as (n,) float32."""
    left_top = np.maximum(box[:2], boxes[:, :2])
    right_bottom = np.minimum(box[:2] + box[2:], boxes[:, :2] + boxes[:, 2:])
    overlap = np.prod(np.clip(right_bottom - left_top, 0, None), axis=1)
    union = box[2] * box[3] + boxes[:, 2] * boxes[:, 3] - overlap
    return np.asarray(overlap / np.maximum(union, np.finfo(np.float32).tiny), dtype=np.float32)


def suppress(
    boxes: NDArray[np.float32], scores: NDArray[np.float32], max_overlap: float
) -> NDArray[np.intp]:
    """Greedy non-maximum suppression.

    Args:
        boxes: (n, 4) float32.
        scores: (n,) float32.
        max_overlap: a box is dropped when its IoU with a better one that stays is above this.

    Returns:
        Indexes of the boxes that stay, best score first; equal scores in their given order.
    """
    order = np.argsort(-scores, kind="stable")
    kept: list[int] = []
    while order.size:
        best, rest = order[0], order[1:]
        kept.append(int(best))
        order = rest[iou(boxes[best], boxes[rest]) <= max_overlap]
    return np.asarray(kept, dtype=np.intp)


def square_around(box: NDArray[np.float32], padding: float) -> Square:
    """The square centred on a box (4,), with `padding` times its longer side added on each side."""
    x, y, w, h = (float(value) for value in box)
    side = max(1, round(max(w, h) * (1 + 2 * padding)))
    return Square(round(x + w / 2 - side / 2), round(y + h / 2 - side / 2), side)


def region_around(squares: Sequence[Square]) -> Region:
    """The smallest that holds some squares, one at least."""
    return Region(
        min(square.x for square in squares),
        min(square.y for square in squares),
        max(square.x + square.side for square in squares),
        max(square.y + square.side for square in squares),
    )

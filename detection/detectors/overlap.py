"""Boxes that overlap: how much, and which of them stay.

A box is (x, y, w, h) float32, in pixels, x to the right and y down from the upper left corner.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from detection.detectors.base import Faces

_INSIDE = 0.5  # share of a box from which on it is a part of what it lies in


def iou(box: NDArray[np.float32], boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Intersection over union of one box (4,) with each of `boxes` (n, 4), as (n,) float32."""
    overlap = _overlap(box, boxes)
    union = box[2] * box[3] + boxes[:, 2] * boxes[:, 3] - overlap
    return np.asarray(overlap / np.maximum(union, np.finfo(np.float32).tiny), dtype=np.float32)


def share_inside(box: NDArray[np.float32], boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Share of one box's (4,) area that lies in each of `boxes` (n, 4), as (n,) float32."""
    area = max(float(box[2] * box[3]), float(np.finfo(np.float32).tiny))
    return np.asarray(_overlap(box, boxes) / area, dtype=np.float32)


def _overlap(box: NDArray[np.float32], boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Area that one box (4,) shares with each of `boxes` (n, 4), as (n,) float32."""
    left_top = np.maximum(box[:2], boxes[:, :2])
    right_bottom = np.minimum(box[:2] + box[2:], boxes[:, :2] + boxes[:, 2:])
    return np.asarray(np.prod(np.clip(right_bottom - left_top, 0, None), axis=1), np.float32)


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


def together(parts: Sequence[Faces]) -> Faces:
    """All of some faces of one image, part by part; there is one part at least."""
    return Faces(
        np.concatenate([part.boxes for part in parts]),
        np.concatenate([part.scores for part in parts]),
        np.concatenate([part.landmarks for part in parts]),
    )


def joined(parts: Sequence[Faces], max_overlap: float) -> Faces:
    """All of some faces of one image, each once: `suppress` says which of equals stays."""
    faces = together(parts)
    return faces.take(suppress(faces.boxes, faces.scores, max_overlap))


def with_unsure(faces: Faces, unsure: Faces, min_score: float, max_overlap: float) -> Faces:
    """Some faces, and of those whose boxes may show only a part of a face the ones they lack.

    Args:
        faces: each once.
        unsure: in any order. One that overlaps another by an IoU of more than `max_overlap`, or
            lies by more than half in it, is the same face, if that one's score is as high, or no
            lower than `min_score`.
    """
    kept = faces
    for index in np.argsort(-unsure.scores, kind="stable"):
        box, score = unsure.boxes[index], unsure.scores[index]
        same = (iou(box, kept.boxes) > max_overlap) | (share_inside(box, kept.boxes) > _INSIDE)
        if not (same & (kept.scores >= min(min_score, score))).any():
            kept = together([kept, unsure.take(np.array([index]))])
    return kept

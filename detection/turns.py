"""Photographs that lie on their side or on their head, though nothing in their file says so.

YuNet's five points are those of an upright face however a face is turned, so they do not tell. Its
score does: of 183 photographs with a face, each turned three ways, the best face scores highest in
the one that stands, all 549 times. See docs/decisions/0021-turned.md.
"""

from __future__ import annotations

import numpy as np

from detection.crop import Pixels
from detection.detectors.base import Detector, Faces

_STANDING_SCORE = 0.8
"""What the best face of a photograph has, at least, once that was turned to stand, ..."""

_SURELY_STANDING_SCORE = 0.9
"""... or, where faces were found as it lay, this, and ..."""

_BETTER = 0.03
"""... by how much it is more than as it lay. A head that is tilted by 30 to 45 degrees has much the
same score in two orientations, and is to stay as it is."""


def best_score(faces: Faces) -> float:
    """The highest score; 0 where there is no face."""
    return float(faces.scores.max(initial=0))


def find_turn(pixels: Pixels, detector: Detector, best: float) -> int:
    """Find how a photograph that may lie would have to be turned, by few of its pixels.

    Args:
        pixels: (h, w, 3) uint8 BGR, of any size.
        detector: of the calling thread.
        best: score of the best face of the photograph as it lies; 0 where there is none.

    Returns:
        Quarter turns counterclockwise, 0 to 3; whether it `stands` then is for more pixels to say.
    """
    # On one sheet: to the detector, a picture of another shape costs more than some more pixels.
    views = [turned(pixels, quarters) for quarters in (1, 2, 3)]
    borders = np.cumsum([view.shape[1] for view in views])
    sheet = np.zeros((max(view.shape[0] for view in views), borders[-1], 3), np.uint8)
    for view, right in zip(views, borders, strict=True):
        sheet[: view.shape[0], right - view.shape[1] : right] = view
    faces = detector.detect(sheet)
    place = np.searchsorted(borders, faces.boxes[:, 0] + faces.boxes[:, 2] / 2)
    scores = [best_score(faces.take(np.flatnonzero(place == number))) for number in range(3)]
    highest = max(scores)
    return 1 + scores.index(highest) if highest >= max(best + _BETTER, _STANDING_SCORE) else 0


def stands(score: float, other: float, min_score: float) -> bool:
    """Whether a photograph stands after its turn.

    Args:
        score, other: of its best face after that and before, 0 to 1.
        min_score: from which on they are faces.
    """
    least = _STANDING_SCORE if other < min_score else _SURELY_STANDING_SCORE
    return score >= max(other + _BETTER, least)


def turned(pixels: Pixels, quarters: int) -> Pixels:
    """An (h, w, 3) image after so many quarter turns counterclockwise."""
    return np.ascontiguousarray(np.rot90(pixels, quarters))


def turned_back(faces: Faces, quarters: int, width: int, height: int) -> Faces:
    """Faces of a `width` x `height` image that were found after so many quarter turns.

    Args:
        faces: in pixels of the turned image.
        quarters: counterclockwise, 0 to 3.
        width, height: of the image as it was before.
    """
    if not quarters:
        return faces
    corners = np.stack([faces.boxes[:, :2], faces.boxes[:, :2] + faces.boxes[:, 2:]], axis=1)
    points = np.concatenate([corners, faces.landmarks], axis=1)
    x, y = points[..., 0], points[..., 1]
    if quarters == 1:
        x, y = width - y, x
    elif quarters == 2:
        x, y = width - x, height - y
    else:
        x, y = y, height - x
    points = np.stack([x, y], axis=-1).astype(np.float32)
    left_top, right_bottom = points[:, :2].min(axis=1), points[:, :2].max(axis=1)
    boxes = np.concatenate([left_top, right_bottom - left_top], axis=1)
    return Faces(boxes, faces.scores, points[:, 2:])

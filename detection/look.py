"""Looking for faces in decoded pixels: once, and again where once may not do.

A second look costs as much as it is finer, and most photographs need none. It is taken, where the
settings ask for it, at the photographs of which the first look is in doubt: see
docs/decisions/0011-profiles.md for what it finds and what it costs.
"""

from __future__ import annotations

from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from detection.detector import Detector, Faces
from detection.geometry import suppress
from detection.settings import DetectionSettings

DOUBTFUL_SCORE = 0.5
"""From here up to the lowest score wanted, what was found may be a face that is seen badly."""

SMALL_PX = 24
"""Where a face has fewer pixels than this in the first look, others have too few to be found."""

_QUARTER_TURNS = (1, 2, 3)

Pixels = NDArray[np.uint8]


def look(pixels: Pixels, detector: Detector, settings: DetectionSettings) -> Faces:
    """Faces in an upright (h, w, 3) uint8 BGR image, in its pixels.

    Args:
        pixels: the image, of any size; larger ones than `effort.finest_side` are shrunk anyway.
        detector: made for the same settings by `detection.image.make_detector`.
        settings: how they are found.
    """
    effort = settings.effort
    small = _shrunk(pixels, effort.side)
    faces = _enlarged(detector.detect(small), small, pixels)
    if not effort.second_look:
        return faces
    shrunk = effort.side / max(pixels.shape[:2])
    if shrunk < 1 and _in_doubt(faces, effort.min_score, SMALL_PX / shrunk):
        finer = _shrunk(pixels, effort.finest_side)
        again = _enlarged(detector.detect(finer), finer, pixels)
        faces = _joined([faces, again], settings.max_overlap)
    sure = _sure(faces, effort.min_score)
    if len(sure):
        return sure
    return _enlarged(_look_turned(small, detector, effort.min_score), small, pixels)


def lowest_score(settings: DetectionSettings) -> float:
    """The lowest score that a detector has to report for `look`, 0 to 1."""
    effort = settings.effort
    return min(effort.min_score, DOUBTFUL_SCORE) if effort.second_look else effort.min_score


def _in_doubt(faces: Faces, min_score: float, small: float) -> bool:
    sure = faces.scores >= min_score
    return bool((~sure).any() or (faces.boxes[sure, 2:] < small).any())


def _sure(faces: Faces, min_score: float) -> Faces:
    return faces.take(np.flatnonzero(faces.scores >= min_score))


def _enlarged(faces: Faces, small: Pixels, pixels: Pixels) -> Faces:
    """Faces found in `small`, in the pixels of the image that it was made from."""
    return faces.scaled(pixels.shape[1] / small.shape[1], pixels.shape[0] / small.shape[0])


def _look_turned(pixels: Pixels, detector: Detector, min_score: float) -> Faces:
    """Faces in an image that lies on its side or head, though nothing in its file says so."""
    height, width = pixels.shape[:2]
    looks = []
    for turns in _QUARTER_TURNS:
        found = detector.detect(np.ascontiguousarray(np.rot90(pixels, turns)))
        looks.append(_turned_back(_sure(found, min_score), turns, width, height))
    return max(looks, key=lambda faces: float(faces.scores.sum()))


def _turned_back(faces: Faces, turns: int, width: int, height: int) -> Faces:
    """Faces of a `width` x `height` image, found after so many quarter turns counterclockwise."""
    corners = np.stack([faces.boxes[:, :2], faces.boxes[:, :2] + faces.boxes[:, 2:]], axis=1)
    points = np.concatenate([corners, faces.landmarks], axis=1)
    x, y = points[..., 0], points[..., 1]
    if turns == 1:
        x, y = width - y, x
    elif turns == 2:
        x, y = width - x, height - y
    else:
        x, y = y, height - x
    points = np.stack([x, y], axis=-1).astype(np.float32)
    left_top, right_bottom = points[:, :2].min(axis=1), points[:, :2].max(axis=1)
    boxes = np.concatenate([left_top, right_bottom - left_top], axis=1)
    return Faces(boxes, faces.scores, points[:, 2:])


def _joined(looks: list[Faces], max_overlap: float) -> Faces:
    faces = Faces(
        np.concatenate([one.boxes for one in looks]),
        np.concatenate([one.scores for one in looks]),
        np.concatenate([one.landmarks for one in looks]),
    )
    return faces.take(suppress(faces.boxes, faces.scores, max_overlap))


def _shrunk(pixels: Pixels, side: int) -> Pixels:
    height, width = pixels.shape[:2]
    shrink = side / max(height, width)
    if shrink >= 1:
        return pixels
    size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
    return cast(Pixels, cv2.resize(pixels, size, interpolation=cv2.INTER_LINEAR))

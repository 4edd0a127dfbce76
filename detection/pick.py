"""Which faces of a photograph come first, and so which are kept where not all are."""

from __future__ import annotations

import math
from collections.abc import Sequence

from detection.options import Pick
from detection.pose import look

_HALF_SIZE = 0.15
"""Of a photograph's side, the side of a face that has half of what size can give to `best`."""

_WEIGHTS = {"size": 0.35, "centre": 0.15, "sharpness": 0.2, "frontal": 0.2, "score": 0.1}
"""Exponents of the parts of `best`. As powers that are multiplied, no part makes up for another
that is next to nothing: a tiny face is not the best for being sharp."""

_LEAST_SHARPNESS = 0.05  # counts as this, or all faces of a blurred photograph would be equal


def pick_score(
    pick: Pick,
    box: Sequence[float],
    size: tuple[int, int],
    score: float | None,
    points: Sequence[tuple[float, float]] | None,
    sharpness: float,
) -> float:
    """What faces are ranked by, 0 to 1, the highest first.

    largest: the share of the photograph that the box covers.
    central: s (1 - d)², where s is the square root of that share, and d the way from the middle of
    the photograph to that of the box, which is 1 to a corner. So a face in the middle comes before
    one that is half of the way to a corner and up to four times as wide.
    best: the product of s / (s + 0.15), 1 - d, the sharpness, the cosines of yaw and pitch, and the
    detector's score, each to the power that `_WEIGHTS` gives it. These are chosen, not learned: no
    photograph has a label that says which of its faces is the best.

    Args:
        pick: by what.
        box: x, y, w, h in pixels of the upright image.
        size: width and height of that image, in pixels.
        score: of the detector, 0 to 1; None counts as 1.
        points: five, in the order of `LANDMARKS`; None counts as looking straight ahead.
        sharpness: of the face, 0 to 1, in the pixels that were decoded to find it. Only of `best`.
    """
    x, y, w, h = box
    width, height = size
    share = min(1.0, w * h / (width * height))
    if pick == "largest":
        return share
    way = math.hypot(x + w / 2 - width / 2, y + h / 2 - height / 2)
    centre = max(0.0, 1 - 2 * way / math.hypot(width, height))
    side = math.sqrt(share)
    if pick == "central":
        return side * centre**2
    parts = {
        "size": side / (side + _HALF_SIZE),
        "centre": centre,
        "sharpness": max(sharpness, _LEAST_SHARPNESS),
        "frontal": 1.0 if points is None else _frontal(points),
        "score": 1.0 if score is None else score,
    }
    return math.prod(math.pow(parts[name], weight) for name, weight in _WEIGHTS.items())


def _frontal(points: Sequence[tuple[float, float]]) -> float:
    yaw, pitch = look(points)
    return max(0.0, math.cos(math.radians(yaw)) * math.cos(math.radians(pitch)))

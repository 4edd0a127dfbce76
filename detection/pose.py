"""Where a face looks, estimated from its five points.

A mean face is turned, shrunk and moved until it lies on the points as they are seen from afar
(scaled orthographic projection), with the least square error: the first step of POSIT (DeMenthon
and Davis, Model-based object pose in 25 lines of code, IJCV 15, 1995), whose two rows are then made
orthogonal and of one length, by the nearest such pair.

The mean face is YuNet's own: its width and height are the medians over those of 359 faces in
photographs that look at the camera, its depth what fits all 359 best, seen from where each is
(factorisation, Tomasi and Kanade, 1992). A tape would find the nose longer: YuNet sets its
point behind the tip where a face turns away.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from operator import mul

MEAN_FACE = (
    (-1.0, 0.0, 0.0),
    (1.0, 0.0, 0.0),
    (0.0, 1.115, 0.69),
    (-0.859, 1.953, -0.2),
    (0.859, 1.953, -0.2),
)
"""x to the right, y down, z to the camera, in halves of the distance of the eyes, in the order of
`LANDMARKS`."""


def _fit() -> tuple[tuple[float, ...], ...]:
    """The pseudoinverse (3, 5) of the mean face about its middle.

    The process that has images cropped imports no numpy. The face is its own mirror image, so x is
    independent of the others.
    """
    x, y, z = (
        [one - sum(axis) / len(axis) for one in axis] for axis in zip(*MEAN_FACE, strict=True)
    )
    xx, yy, yz, zz = (sum(map(mul, *pair)) for pair in ((x, x), (y, y), (y, z), (z, z)))
    area = yy * zz - yz * yz
    return (
        tuple(a / xx for a in x),
        tuple((zz * b - yz * c) / area for b, c in zip(y, z, strict=True)),
        tuple((yy * c - yz * b) / area for b, c in zip(y, z, strict=True)),
    )


_FIT = _fit()


def look(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Yaw and pitch of a face in degrees, whichever way its photograph was turned.

    Exact for the mean face. Others have other noses: the error (root mean square) is 5 degrees in
    yaw and 7 in pitch where people differ by a tenth and points are off by a fiftieth of the
    distance of the eyes; see `tests/detection/test_pose.py`.

    Args:
        points: five, x and y in pixels of the upright image, in the order of `LANDMARKS`.

    Returns:
        Yaw, -180 to 180, positive where the face turns to the right of the picture as it would
        stand upright, which is the person's left; and pitch, -90 to 90, positive where it looks up.
        As Tait-Bryan angles: the head is turned by yaw, then pitched, then rolled.
    """
    across, along = zip(*points, strict=True)
    right = [sum(map(mul, row, across)) for row in _FIT]
    down = [sum(map(mul, row, along)) for row in _FIT]
    rr, rd, dd = (sum(map(mul, *pair)) for pair in ((right, right), (right, down), (down, down)))
    area = math.sqrt(max(0.0, rr * dd - rd * rd))
    if area == 0:  # all points on a line
        return 0.0, 0.0
    # the inverse square root of [[rr, rd], [rd, dd]], but for a factor, makes them orthogonal
    right, down = (
        [(dd + area) * a - rd * b for a, b in zip(right, down, strict=True)],
        [(rr + area) * b - rd * a for a, b in zip(right, down, strict=True)],
    )
    x = right[1] * down[2] - right[2] * down[1]
    y = right[2] * down[0] - right[0] * down[2]
    z = right[0] * down[1] - right[1] * down[0]
    return math.degrees(math.atan2(-x, z)), math.degrees(math.atan2(y, math.hypot(x, z)))

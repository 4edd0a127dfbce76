"""How well a face was taken: its focus, its light.

Sharpness is 1 less the blur metric of Crete et al. (The blur effect: perception and estimation with
a new no-reference perceptual blur metric, Proc. SPIE 6492, 2007): what blurring once more takes
away of the differences between neighbouring pixels. What has been blurred already loses little. As
a share it depends neither on contrast nor on how many pixels a face has.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple, cast

import cv2
import numpy as np

from detection.crop import Pixels

_REACH = 5
"""Pixels that the second blurring takes the mean of. Crete's 9 hardly tell blurs of under a pixel
apart, and 3 take a strong one for a weaker one."""

_ROUNDED = 2
"""About what rounding to whole grey levels adds to a difference, times `_REACH`. If it counted, a
blurred face would be sharp in poor light. A sharp one loses a tenth at two fifths of the light."""

_LINES = 96
"""Rows and columns of a face that are measured, at least, where it has so many: of larger faces
every second, third and so on. The pixels in a line are as they are."""

_STRIPE = 16
"""Columns that are taken together: single ones would each be fetched with their neighbours."""


class Quality(NamedTuple):
    """What the pixels of a face's box say.

    Attributes:
        sharpness: 0 to 1, higher is sharper; 0 where there are too few pixels to tell.
        brightness, contrast: mean and standard deviation of its luma (BT.601), 0 to 255.
    """

    sharpness: float
    brightness: float
    contrast: float


def measure(
    pixels: Pixels, box: Iterable[float], scale: float, origin: tuple[int, int] = (0, 0)
) -> Quality:
    """Measure one face.

    Args:
        pixels: (h, w, 3) uint8 BGR, the upright image at `scale` of its full size, or a part of it
            that holds all of the box that the image has.
        box: x, y, w, h in pixels of the full image; its middle lies in the image.
        scale: size of the image that `pixels` are of, over its full size.
        origin: x and y of the first of `pixels` in that image.
    """
    x, y, w, h = (float(side) * scale for side in box)
    left, top = max(0, int(x) - origin[0]), max(0, int(y) - origin[1])
    right, bottom = math.ceil(x + w) - origin[0], math.ceil(y + h) - origin[1]
    face = pixels[top:bottom, left:right]
    high, wide = face.shape[:2]
    rows, columns = max(1, high // _LINES), max(1, wide // _LINES)
    along = _luma(face[::rows])
    across = along if rows == columns == 1 else _luma(_stripes(face, columns))
    mean, deviation = cv2.meanStdDev(along)
    sharpness = min(_sharpness(along), _sharpness(cast(Pixels, cv2.transpose(across))))
    return Quality(sharpness, float(mean[0, 0]), float(deviation[0, 0]))


def _stripes(face: Pixels, every: int) -> Pixels:
    starts = range(0, face.shape[1], _STRIPE * every)
    return np.concatenate([face[:, start : start + _STRIPE] for start in starts], axis=1)


def _luma(face: Pixels) -> Pixels:
    return cast(Pixels, cv2.cvtColor(np.ascontiguousarray(face), cv2.COLOR_BGR2GRAY))


def _sharpness(lines: Pixels) -> float:
    """The share of the differences along the rows that a mean over `_REACH` pixels takes away.

    The difference of two neighbouring means is that of the pixels that only one of them has, over
    `_REACH`.
    """
    length = lines.shape[1] - _REACH
    if length < 1:
        return 0.0
    half = _REACH // 2
    near = cv2.absdiff(lines[:, half : half + length], lines[:, half + 1 : half + 1 + length])
    far = cv2.absdiff(lines[:, :length], lines[:, _REACH:])
    # what is below 0 is 0
    lost = cv2.addWeighted(near, _REACH, far, -1, -_ROUNDED, dtype=cv2.CV_16U)
    there = _REACH * cv2.sumElems(near)[0]
    return float(cv2.sumElems(lost)[0] / there) if there else 0.0

"""A perceptual hash: 64 bits that hardly differ where two pictures look alike.

Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions" (2010), 3.2.1: the
picture is smoothed and shrunk to 32 x 32 luma, and of its discrete cosine transform the 8 x 8
lowest frequencies, but for those that are constant along a side, are compared with their median.
Here samples are taken at four times that size, and their means smooth and shrink in one step.
"""

from __future__ import annotations

import cv2
import numpy as np

from detection.crop import Pixels

_SIDE = 32  # px, of what is transformed
_LOW = 8  # frequencies along a side
_SAMPLED = 4 * _SIDE  # px, of what is taken of the picture: means of whole pixels are quick
_NOTHING = 1e-3  # of what rounding leaves of a picture that is all of one colour


def phash(pixels: Pixels) -> str:
    """The hash of a picture, as 16 hexadecimal digits, the lowest frequencies first.

    Args:
        pixels: upright (h, w, 3) uint8 BGR, at whatever size.
    """
    some = cv2.resize(pixels, (_SAMPLED, _SAMPLED), interpolation=cv2.INTER_LINEAR)
    luma = cv2.cvtColor(some, cv2.COLOR_BGR2GRAY)
    small = cv2.resize(luma, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    low = cv2.dct(small.astype(np.float32))[1 : _LOW + 1, 1 : _LOW + 1].ravel()
    middle = np.sort(low)[len(low) // 2]
    return np.packbits(low > middle + _NOTHING).tobytes().hex()

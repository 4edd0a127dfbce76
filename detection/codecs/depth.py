"""Samples of any depth as 8 bits: by what their format says, else by what is there.

Cameras, scanners and microscopes store 10, 12 or 14 bits in samples of 16, and floats of any range.
Where a format does not say which of the bits are used, the largest value does, and that is a guess.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Samples = NDArray[Any]

_WHITE = 255
_LEAST_BITS = 8  # less is a dark picture
_FLOAT_BITS = (8, 10, 12, 14, 16)  # of integers that were stored as floats
_LIGHTS = 1.5  # the largest value over that of 99 %, where it is of lights above white
_LOOKED_AT = 1 << 18  # samples, of a float picture
_ROWS_AT_ONCE = 64


def to_bytes(samples: Samples, bits: int, said: tuple[float, float] | None) -> tuple[Pixels, bool]:
    """Scale samples to 0 to 255.

    Args:
        samples: (h, w) or (h, w, n), integers or floats of any kind.
        bits: of a sample, as its format has it.
        said: least and largest value of a sample, if the format tells.

    Returns:
        The same shape in uint8; and whether the scale was guessed.
    """
    floats = samples.dtype.kind == "f"
    if said is not None and said[0] < said[1]:
        low, high, guessed = *said, False
    elif floats:
        low, high, guessed = _float_range(samples)
    else:
        low, high, guessed = _integer_range(samples, bits)
    scaled = np.empty(samples.shape, np.uint8)
    for row in range(0, len(samples), _ROWS_AT_ONCE):
        some = samples[row : row + _ROWS_AT_ONCE].astype(np.float64)
        if floats:
            some = np.nan_to_num(some, nan=low, posinf=high, neginf=low)
        some = (np.clip(some, low, high) - low) * (_WHITE / (high - low))
        scaled[row : row + _ROWS_AT_ONCE] = np.rint(some)
    return scaled, guessed


def on_white(colours: Pixels, alpha: Pixels, *, premultiplied: bool) -> Pixels:
    """Lay (h, w, n) colours with (h, w) alpha, 0 to 255, on white."""
    laid = np.empty_like(colours)
    for row in range(0, len(colours), _ROWS_AT_ONCE):
        rows = slice(row, row + _ROWS_AT_ONCE)
        cover = alpha[rows, :, None].astype(np.float32) / _WHITE
        some = colours[rows].astype(np.float32) * (1 if premultiplied else cover)
        laid[rows] = np.rint(np.clip(some + (1 - cover) * _WHITE, 0, _WHITE))
    return laid


def _integer_range(samples: Samples, bits: int) -> tuple[float, float, bool]:
    most = int(samples.max(initial=0))
    least = int(samples.min(initial=0))
    usable = bits - (samples.dtype.kind == "i")
    if least < -(1 << (usable - 1)):  # black is the least that there is
        return -(1 << usable), (1 << usable) - 1, True
    if least < 0:  # what is black is known to the writer alone
        return least, max(most, least + 1), True
    used = max(_LEAST_BITS, most.bit_length())
    if used >= usable - 1 or not most:  # a picture may be dark by half
        return 0, (1 << usable) - 1, False
    return 0, (1 << used) - 1, True


def _float_range(samples: Samples) -> tuple[float, float, bool]:
    """0 to 1 by convention; else what most of the picture needs."""
    flat = samples.reshape(-1)
    some = flat[:: max(1, flat.size // _LOOKED_AT)].astype(np.float64)
    some = some[np.isfinite(some)]
    if not some.size or (some.min() >= 0 and some.max() <= 1):
        return 0, 1, False
    low, high, higher = (float(one) for one in np.percentile(some, (1, 95, 99)))
    low, most = min(0.0, low), float(some.max())
    for bits in _FLOAT_BITS:
        if high > _FLOAT_BITS[0] and most <= (1 << bits) - 1:
            return low, (1 << bits) - 1, True
    # a few lights of a picture of high dynamic range are far above its white
    return low, max(1.0, most if most <= higher * _LIGHTS else high), True

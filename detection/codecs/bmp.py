"""Bitmaps whose colours lie where the file says (BITMAPV4HEADER, BI_BITFIELDS and kin)."""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]

_FILE_HEADER = 14
_MASKS_AT = _FILE_HEADER + 40
_BITFIELDS, _ALPHA_BITFIELDS = 3, 6
_WITH_ALPHA = 56  # bytes of the first header that has a mask of alpha
_WHITE = 255


class Masked(NamedTuple):
    """Where a bitmap's colours are.

    Attributes:
        width, height: in pixels.
        up: whether the last row comes first, as is usual.
        bits: of a pixel, 16 or 32.
        masks: of red, green, blue and alpha; 0 for none.
        start: of the pixels, in the file.
    """

    width: int
    height: int
    up: bool
    bits: int
    masks: tuple[int, ...]
    start: int


def masked(data: bytes) -> Masked | None:
    """What a bitmap's header says of its masks; None where it has none or makes no sense."""
    if len(data) < _MASKS_AT + 16:
        return None
    (start, size, width, height, _, bits, kind) = struct.unpack_from("<IIiiHHI", data, 10)
    if kind not in (_BITFIELDS, _ALPHA_BITFIELDS) or bits not in (16, 32) or size < 40:
        return None
    masks = struct.unpack_from("<4I", data, _MASKS_AT)
    if kind == _BITFIELDS and size < _WITH_ALPHA:
        masks = (*masks[:3], 0)
    if width <= 0 or not height or not all(masks[:3]) or max(masks) >> bits:
        return None
    return Masked(width, abs(height), height > 0, bits, masks, start)


def decode(data: bytes, header: Masked) -> Pixels:
    """(h, w, 4) RGBA.

    Raises:
        ValueError: rows are missing.
    """
    row_bytes = (header.width * header.bits + 31) // 32 * 4
    size = row_bytes * header.height
    if len(data) - header.start < size:
        raise ValueError("image file is truncated")
    rows = np.frombuffer(data, np.uint8, size, header.start).reshape(header.height, row_bytes)
    words = rows.view(f"<u{header.bits // 8}")[:, : header.width]
    pixels = np.full((header.height, header.width, 4), _WHITE, np.uint8)
    for place, mask in enumerate(header.masks):
        if mask:
            shift = (mask & -mask).bit_length() - 1
            most = mask >> shift
            found = ((words & mask) >> shift).astype(np.float32) * (_WHITE / most)
            pixels[..., place] = np.rint(found)
    return pixels[::-1] if header.up else pixels

"""Many crops in one picture, and small ones of single crops."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import cv2
import numpy as np

from detection.codecs.decode import Source
from detection.crop import Pixels, encode
from detection.errors import ImageError
from detection.options import MOST_CROP_SIDE

_GROUND = (44, 39, 36)  # BGR: a dark grey, for light pages as for dark ones
_GAP = 4  # pixels between cells and around them
_QUALITY = 80

PHOTO_PIXELS = 16_000_000
"""Of a photograph that is shown small; of a JPEG, which is decoded reduced, 8 times as many."""


def contact_sheet(crops: Sequence[bytes], columns: int, cell: int) -> bytes:
    """A JPEG of encoded crops in rows; at least one row, whose last cells may be empty.

    Args:
        crops: JPEG, PNG or WebP of any size. What cannot be decoded is left out.
        columns: crops in a row.
        cell: side of the square that each crop is fitted into, in pixels.
    """
    fitted = [pixels for crop in crops if (pixels := _fit(crop, cell)) is not None]
    rows = max(1, -(-len(fitted) // columns))
    step = cell + _GAP
    sheet = np.full((rows * step + _GAP, columns * step + _GAP, 3), _GROUND, np.uint8)
    for number, pixels in enumerate(fitted):
        row, column = divmod(number, columns)
        height, width = pixels.shape[:2]
        top = _GAP + row * step + (cell - height) // 2
        left = _GAP + column * step + (cell - width) // 2
        sheet[top : top + height, left : left + width] = pixels
    return encode(sheet, "jpg", _QUALITY)


def thumbnail(crop: bytes, side: int, max_pixels: int = MOST_CROP_SIDE**2) -> bytes | None:
    """A JPEG of one encoded crop; None where that cannot be decoded.

    Args:
        crop: JPEG, PNG or WebP; or a photograph with its faces covered.
        side: the longer one of the thumbnail, in pixels.
        max_pixels: of the crop; larger ones are not decoded.
    """
    pixels = _fit(crop, side, max_pixels)
    return None if pixels is None else encode(pixels, "jpg", _QUALITY)


def _fit(crop: bytes, side: int, max_pixels: int = MOST_CROP_SIDE**2) -> Pixels | None:
    """The crop's BGR pixels, its longer side made `side`; None where it cannot be decoded."""
    try:
        source = Source.open(crop, max_pixels)
        pixels = source.decode(source.reduction_for(side / max(source.width, source.height)))
    except ImageError:
        return None
    height, width = pixels.shape[:2]
    scale = side / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    smooth = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return cast(Pixels, cv2.resize(pixels, size, interpolation=smooth))

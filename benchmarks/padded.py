"""The crops that scripts make, and the old system did: a box with room around it, stretched."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from numpy.typing import NDArray

SIZE = 300
_PADDING = 0.2


def padded(image: NDArray[Any], boxes: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """The parts of an (h, w, 3) image in (n, 4) boxes, with a fifth of their sides around."""
    height, width = image.shape[:2]
    for x, y, w, h in boxes:
        x0, y0 = max(0, round(x - w * _PADDING)), max(0, round(y - h * _PADDING))
        x1 = min(width, round(x + w * (1 + _PADDING)))
        y1 = min(height, round(y + h * (1 + _PADDING)))
        if x0 < x1 and y0 < y1:
            yield image[y0:y1, x0:x1]

"""The crops that scripts make, and the old system did: a box with room around it, stretched."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import cv2
from numpy.typing import NDArray

SIZE = 300
_PADDING = 0.2


def padded(image: NDArray[Any], boxes: Iterable[NDArray[Any]]) -> Iterator[bytes]:
    """JPEGs of an (h, w, 3) BGR image in x, y, w, h boxes, with a fifth of w and h around."""
    height, width = image.shape[:2]
    for x, y, w, h in boxes:
        x0, y0 = max(0, round(x - w * _PADDING)), max(0, round(y - h * _PADDING))
        x1 = min(width, round(x + w * (1 + _PADDING)))
        y1 = min(height, round(y + h * (1 + _PADDING)))
        if x0 < x1 and y0 < y1:
            yield cv2.imencode(".jpg", cv2.resize(image[y0:y1, x0:x1], (SIZE, SIZE)))[1].tobytes()

"""Faces in a photograph made such that nobody can be told by them.

What is covered is an ellipse around each face's box, which reaches a tenth past the box's corners:
the detector's boxes go from the hair-line to the chin, so all of that is in it. `blur` and
`pixelate` keep of it the means of cells, CELLS of them along the face, and nothing finer: the
blurred face is made of those means, and not of the face, so that no sharpening brings it back. Each
of eyes, nose and mouth is smaller than a cell. Where it is known that somebody is one of a few
people, a network that was trained with them may still tell them apart by mosaics (McPherson,
Shokri, Shmatikov: Defeating Image Obfuscation with Deep Learning, 2016); `mask` leaves nothing to
tell by.
"""

from __future__ import annotations

import math
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from detection.codecs.decode import Samples
from detection.options import Cover

CELLS = 4
"""Along the longer side of a face's box."""

REACH = 1.1 * math.sqrt(2)
"""Axes of the ellipse, over the sides of the box; an ellipse through its corners has the root."""


def cover_faces(pixels: Samples, boxes: NDArray[np.float32], how: Cover) -> None:
    """Cover faces, in place.

    Args:
        pixels: (h, w) or (h, w, c), uint8 or uint16, grey, BGR, or BGR with alpha, which stays.
        boxes: (n, 4) x, y, w, h of the faces, in these pixels; may reach past the edge.
        how: blur, pixelate or mask (black).
    """
    for x, y, w, h in boxes.astype(float):
        _cover(pixels, (x + w / 2, y + h / 2), (w * REACH / 2, h * REACH / 2), max(w, h), how)


def _cover(
    pixels: Samples,
    centre: tuple[float, float],
    axes: tuple[float, float],
    face: float,
    how: Cover,
) -> None:
    height, width = pixels.shape[:2]
    x0, x1 = (round(centre[0] + side * axes[0]) for side in (-1, 1))
    y0, y1 = (round(centre[1] + side * axes[1]) for side in (-1, 1))
    x0, x1 = max(0, x0), min(width, x1 + 1)
    y0, y1 = max(0, y0), min(height, y1 + 1)
    if x0 >= x1 or y0 >= y1:
        return
    region = pixels[y0:y1, x0:x1]
    colours = region[..., :3] if region.ndim == 3 else region
    inside_x = ((np.arange(x0, x1) + 0.5 - centre[0]) / max(axes[0], 0.5)) ** 2
    inside_y = ((np.arange(y0, y1) + 0.5 - centre[1]) / max(axes[1], 0.5)) ** 2
    inside = inside_x[None, :] + inside_y[:, None] <= 1
    colours[inside] = 0 if how == "mask" else _cells(colours, face, how)[inside]


def _cells(part: Samples, face: float, how: Cover) -> Samples:
    """The means of cells, as large as the part that they are of."""
    height, width = part.shape[:2]
    cell = face / CELLS
    across = max(1, round(width / cell)), max(1, round(height / cell))
    means = cv2.resize(np.ascontiguousarray(part), across, interpolation=cv2.INTER_AREA)
    way = cv2.INTER_NEAREST if how == "pixelate" else cv2.INTER_CUBIC
    return cast(Samples, cv2.resize(means, (width, height), interpolation=way))

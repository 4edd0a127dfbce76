"""From a face and the settings to the frame of its crop."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from detection.framing.border import kept_inside
from detection.framing.frame import Frame, Similarity, frame_of, quarter_turns
from detection.framing.head import head_of
from detection.framing.templates import arcface, ffhq
from detection.geometry import square_around
from detection.options import MOST_CROP_SIDE, Cut, crop_size

_EYES_APART = 0.01  # of the longer side of the box: nearer, they give no line

Points = Sequence[tuple[float, float]]


class Placed(NamedTuple):
    """A frame, and whether it is as was asked: aligned, and around the head."""

    frame: Frame
    as_asked: bool


class _Rectangle(NamedTuple):
    """A crop on the photograph as it stands, in its pixels; `across` is of length 1."""

    centre: complex
    across: complex
    width: float
    height: float


def place(
    box: Sequence[float],
    points: Points | None,
    page: tuple[int, int],
    quarters: int,
    cut: Cut,
) -> Placed:
    """The frame of a face's crop.

    Args:
        box: x, y, w, h of the face in pixels of the upright full image.
        points: the five in the order of `LANDMARKS`, in the same pixels; None without them, and
            then the frame is the one around the box, and upright.
        page: width and height of that image.
        quarters: turns counterclockwise, 0 to 3, after which the face stands upright.
        cut: the settings, no preset left in them.
    """
    asked = cut.align != "none" or cut.frame != "box"
    standing = quarter_turns(quarters, *page)
    if asked and points is not None:
        upright = [standing(complex(*point)) for point in points]
        rectangle = _of_points(_standing(box, standing), upright, cut)
        if rectangle is not None:
            return Placed(_framed(rectangle, page, quarters, cut), as_asked=True)
    width, height = _wanted(cut)
    if width == height and cut.border == "replicate":
        return Placed(_exact(box, quarters, cut), as_asked=not asked)
    x, y, side = square_around(_standing(box, standing), cut.padding)
    rectangle = _grown(complex(x + side / 2, y + side / 2), 1, side, cut)
    return Placed(_framed(rectangle, page, quarters, cut), as_asked=not asked)


def _exact(box: Sequence[float], quarters: int, cut: Cut) -> Frame:
    """The padded square around the box, which is cut out pixel by pixel and resized."""
    square = square_around(box, cut.padding)
    size, _ = crop_size(cut)
    if not size or (cut.enlarge == "no" and size > square.side):
        size = min(square.side, MOST_CROP_SIDE)
    scale = size / square.side
    to_crop = Similarity(scale, -scale * complex(square.x, square.y))
    return frame_of(quarter_turns(quarters, size, size).after(to_crop), size, size, square)


def _of_points(box: Sequence[float], points: Sequence[complex], cut: Cut) -> _Rectangle | None:
    """What the landmarks say; None where they say nothing, such as eyes in one place."""
    right_eye, left_eye = points[:2]
    longer = max(box[2:])
    if abs(left_eye - right_eye) < _EYES_APART * longer:
        return None
    if cut.align in ("arcface", "ffhq"):
        aligned = arcface(points) if cut.align == "arcface" else ffhq(points)
        return aligned and _grown(*aligned, cut)
    head = head_of(box, points)
    across = head.across if cut.align == "level" else 1
    if cut.frame == "head":
        width, height = _wanted(cut)
        tall = head.height / cut.head_height
        centre = head.eyes + 1j * across * (0.5 - cut.eye_line) * tall
        return _Rectangle(centre, across, tall * width / height, tall)
    x, y, w, h = box
    return _grown(complex(x + w / 2, y + h / 2), across, longer * (1 + 2 * cut.padding), cut)


def _grown(centre: complex, across: complex, side: float, cut: Cut) -> _Rectangle:
    """A square, made longer one way to have the shape of the crop."""
    width, height = _wanted(cut)
    shorter = min(width, height)
    return _Rectangle(centre, across, side * width / shorter, side * height / shorter)


def _wanted(cut: Cut) -> tuple[int, int]:
    """Width and height of a crop; of one in the photograph's own pixels, just their ratio."""
    width, height = crop_size(cut)
    return width or 1, height or 1


def _framed(rectangle: _Rectangle, page: tuple[int, int], quarters: int, cut: Cut) -> Frame:
    centre, across, wide, tall = rectangle
    standing = quarter_turns(quarters, *page)
    if cut.border == "shrink":
        room = page if quarters % 2 == 0 else page[::-1]
        centre, smaller = kept_inside(centre, across, wide, tall, room)
        wide, tall = wide * smaller, tall * smaller
    width, height = _wanted(cut)
    scale = width / wide
    if crop_size(cut) == (0, 0) or (cut.enlarge == "no" and scale > 1):
        scale = min(1, MOST_CROP_SIDE / max(wide, tall))
        width, height = (max(1, math.floor(side * scale + 1e-6)) for side in (wide, tall))
        if scale == 1 and across == 1:  # whole pixels need no resampling
            left, top = round(centre.real - width / 2), round(centre.imag - height / 2)
            centre = complex(left + width / 2, top + height / 2)
    linear = scale * across.conjugate()
    to_crop = Similarity(linear, complex(width, height) / 2 - linear * centre)
    return frame_of(to_crop.after(standing), width, height)


def _standing(box: Sequence[float], standing: Similarity) -> tuple[float, float, float, float]:
    """A box in the photograph as it stands."""
    x, y, w, h = box
    corners = standing(complex(x, y)), standing(complex(x + w, y + h))
    left, right = sorted(corner.real for corner in corners)
    top, bottom = sorted(corner.imag for corner in corners)
    return left, top, right - left, bottom - top

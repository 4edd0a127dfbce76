"""Rectangles: the square around a face, and the region that holds some squares.

A box is (x, y, w, h) in pixels, x to the right and y down from the upper left corner. It may reach
past the image's edge; a `Square` is in whole pixels and may, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple


class Square(NamedTuple):
    """The part of the upright full image that becomes a crop, in whole pixels."""

    x: int
    y: int
    side: int

    def outside(self, width: int, height: int) -> float:
        """Share of its area, 0 to 1, that lies outside an image of so many pixels."""
        inside_x = max(0, min(self.x + self.side, width) - max(self.x, 0))
        inside_y = max(0, min(self.y + self.side, height) - max(self.y, 0))
        return 1 - inside_x * inside_y / self.side**2


class Region(NamedTuple):
    """A part of the upright full image, in whole pixels; `right` and `bottom` are not in it."""

    left: int
    top: int
    right: int
    bottom: int


def square_around(box: Iterable[float], padding: float) -> Square:
    """The square centred on a box (4,), with `padding` times its longer side added on each side."""
    x, y, w, h = (float(value) for value in box)
    side = max(1, round(max(w, h) * (1 + 2 * padding)))
    return Square(round(x + w / 2 - side / 2), round(y + h / 2 - side / 2), side)


def around(regions: Sequence[Region]) -> Region:
    """The smallest that holds some others, one at least."""
    return Region(
        min(region.left for region in regions),
        min(region.top for region in regions),
        max(region.right for region in regions),
        max(region.bottom for region in regions),
    )

"""The frame of a crop: the similarity that takes the photograph's pixels to the crop's.

Points are complex numbers here, x + iy, which makes a similarity `linear * point + offset`. They
count from the upper left corner of the upper left pixel, as boxes and landmarks do, so that the
centre of that pixel is (0.5, 0.5).
"""

from __future__ import annotations

import math
from typing import NamedTuple

from detection.geometry import Region, Square

_CLOSE = 1e-6  # of the larger number, or of 1
_CORNERS = ((0, 0), (1, 0), (1, 1), (0, 1))


class Similarity(NamedTuple):
    """A turn, a scale and a shift of the plane; never a reflection."""

    linear: complex
    offset: complex

    def __call__(self, point: complex) -> complex:
        """Where a point comes to be."""
        return self.linear * point + self.offset

    def after(self, first: Similarity) -> Similarity:
        """This one of what another has done."""
        return Similarity(self.linear * first.linear, self(first.offset))

    def inverse(self, point: complex) -> complex:
        """The point that comes to this one."""
        return (point - self.offset) / self.linear


def quarter_turns(quarters: int, width: float, height: float) -> Similarity:
    """What so many quarter turns counterclockwise, 0 to 3, do to a picture of such a size."""
    return (
        Similarity(1, 0),
        Similarity(-1j, complex(0, width)),
        Similarity(-1, complex(width, height)),
        Similarity(1j, complex(height, 0)),
    )[quarters]


class Frame(NamedTuple):
    """Where a crop lies in its photograph.

    Attributes:
        matrix: six numbers, row by row those of the 2x3 matrix that takes (x, y, 1) in pixels of
            the upright full image to x, y in pixels of the crop's file. Both count from the upper
            left corner of the upper left pixel: OpenCV's matrix, between the centres of pixels,
            is M' = M with the third column + (M's left half) (0.5, 0.5) - (0.5, 0.5).
        width, height: of the crop's file, in pixels.
        square: in whole pixels of the full image: what is cut out, where that is a square which
            stands upright; else the square, centred on it, that it fits into.
        exact: whether that square, cut out as it is and resized, is the crop.
    """

    matrix: tuple[float, float, float, float, float, float]
    width: int
    height: int
    square: Square
    exact: bool

    @property
    def similarity(self) -> Similarity:
        """The matrix as complex numbers."""
        a, _, x, b, _, y = self.matrix
        return Similarity(complex(a, b), complex(x, y))

    @property
    def scale(self) -> float:
        """Pixels of the crop a pixel of the photograph."""
        if self.exact:
            return self.width / self.square.side
        return abs(self.similarity.linear)

    @property
    def corners(self) -> list[complex]:
        """Of the crop, in pixels of the photograph, from its upper left one clockwise."""
        to_crop = self.similarity
        return [to_crop.inverse(complex(x * self.width, y * self.height)) for x, y in _CORNERS]

    def region(self, margin: float) -> Region:
        """The upright rectangle that holds it and so many pixels of the photograph around it."""
        (left, right), (top, bottom) = _extents(self)
        return Region(
            math.floor(left - margin),
            math.floor(top - margin),
            math.ceil(right + margin),
            math.ceil(bottom + margin),
        )

    def is_close(self, other: Frame) -> bool:
        """Whether both say the same but for rounding."""
        return self[1:] == other[1:] and all(
            math.isclose(one, two, rel_tol=_CLOSE, abs_tol=_CLOSE)
            for one, two in zip(self.matrix, other.matrix, strict=True)
        )


def frame_of(to_crop: Similarity, width: int, height: int, square: Square | None = None) -> Frame:
    """A frame by its similarity and the size of its crop; `square` makes it an exact one."""
    (a, b), (x, y) = ((value.real, value.imag) for value in map(complex, to_crop))
    frame = Frame((a, -b, x, b, a, y), width, height, square or Square(0, 0, 1), square is not None)
    return frame if square else frame._replace(square=_square_holding(frame))


def _square_holding(frame: Frame) -> Square:
    extents = _extents(frame)
    side = max(1, round(max(last - first for first, last in extents)))
    x, y = (round((last + first) / 2 - side / 2) for first, last in extents)
    return Square(x, y, side)


def _extents(frame: Frame) -> list[tuple[float, float]]:
    """From where to where its corners lie, across and down, in pixels of the photograph."""
    axes = zip(*((corner.real, corner.imag) for corner in frame.corners), strict=True)
    return [(min(axis), max(axis)) for axis in axes]

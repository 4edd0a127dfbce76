"""What of a frame lies past the photograph's border."""

from __future__ import annotations

from collections.abc import Sequence

from detection.framing.frame import Frame

_ROUNDING = 9  # digits of a share: beyond them is what floating point leaves of nothing


def outside(frame: Frame, width: int, height: int) -> float:
    """Share of a frame's area, 0 to 1, that lies outside an image of so many pixels."""
    if frame.exact:
        return frame.square.outside(width, height)
    inside = frame.corners
    whole = _area(inside)
    # the image's sides one after the other, each made the real axis below which it lies
    for turn, edge in ((-1j, 0), (1j, width), (-1, 0), (1, height)):
        inside = _below([corner * turn for corner in inside], edge)
        inside = [corner / turn for corner in inside]
    return max(0.0, round(1 - _area(inside) / whole, _ROUNDING))


def kept_inside(
    centre: complex, across: complex, width: float, height: float, page: tuple[float, float]
) -> tuple[complex, float]:
    """Move a rectangle into an image, and make it smaller where it does not fit.

    Args:
        centre: of the rectangle, in pixels of the image.
        across: of length 1, along its width.
        width, height: of the rectangle.
        page: width and height of the image.

    Returns:
        Its centre then, and by what both of its sides are to be multiplied, 1 at most.
    """
    # it is inside where the upright rectangle around it is
    half_x = (width * abs(across.real) + height * abs(across.imag)) / 2
    half_y = (width * abs(across.imag) + height * abs(across.real)) / 2
    smaller = min(1.0, page[0] / (2 * half_x), page[1] / (2 * half_y))
    x = _within(centre.real, half_x * smaller, page[0])
    y = _within(centre.imag, half_y * smaller, page[1])
    return complex(x, y), smaller


def _within(middle: float, half: float, length: float) -> float:
    return min(max(middle, half), max(half, length - half))


def _below(corners: Sequence[complex], edge: float) -> list[complex]:
    """What of a convex polygon has an imaginary part of at most `edge` (Sutherland and Hodgman)."""
    kept: list[complex] = []
    for before, corner in zip([*corners[-1:], *corners[:-1]], corners, strict=True):
        if (before.imag <= edge) != (corner.imag <= edge):
            share = (edge - before.imag) / (corner.imag - before.imag)
            kept.append(before + share * (corner - before))
        if corner.imag <= edge:
            kept.append(corner)
    return kept


def _area(corners: Sequence[complex]) -> float:
    """Of a polygon, by its corners in order."""
    pairs = zip(corners, [*corners[1:], *corners[:1]], strict=True)
    return abs(sum((one.conjugate() * two).imag for one, two in pairs)) / 2

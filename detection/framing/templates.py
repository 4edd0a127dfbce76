"""Squares that data sets of aligned faces have around a face, by its five points."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

_ARCFACE_SIDE = 112
_ARCFACE = (
    38.2946 + 51.6963j, 73.5318 + 51.5014j, 56.0252 + 71.7366j, 41.5493 + 92.3655j,
    70.7299 + 92.2041j,
)  # fmt: skip
"""Where the five points are in a crop of 112 x 112 pixels as ArcFace is trained on, counted
from the centre of the first pixel (Deng et al., ArcFace, CVPR 2019; the numbers of InsightFace)."""

_LEAST = 1e-3  # px of the photograph: a smaller square is none


class Aligned(NamedTuple):
    """A square on a photograph, turned as a face is.

    Attributes:
        centre: in pixels of the photograph.
        across: of length 1, along its upper side.
        side: in pixels of the photograph.
    """

    centre: complex
    across: complex
    side: float


def arcface(points: Sequence[complex]) -> Aligned | None:
    """The square that the similarity of least squares takes to ArcFace's crop.

    Args:
        points: the five, in the order of `LANDMARKS`, in pixels of the photograph.

    Returns:
        None where the points have no such similarity. It is Umeyama's (PAMI 1991) without his
        reflections, and in complex numbers needs no decomposition.
    """
    template = [point + (0.5 + 0.5j) for point in _ARCFACE]
    middle, wanted = sum(points) / len(points), sum(template) / len(template)
    spread = sum(abs(point - middle) ** 2 for point in points)
    linear = sum(
        (point - middle).conjugate() * (place - wanted)
        for point, place in zip(points, template, strict=True)
    )
    if abs(linear) * _ARCFACE_SIDE <= _LEAST * spread or not spread:
        return None
    linear /= spread
    centre = middle + (_ARCFACE_SIDE / 2 * (1 + 1j) - wanted) / linear
    side = _ARCFACE_SIDE / abs(linear)
    return Aligned(centre, linear.conjugate() / abs(linear), side) if side > _LEAST else None


def ffhq(points: Sequence[complex]) -> Aligned | None:
    """The square of FFHQ (Karras et al., CVPR 2019, appendix A; ICLR 2018, C), by eyes and mouth.

    Args:
        points: the five, in the order of `LANDMARKS`, in pixels of the photograph. The paper has
            the eyes' outlines and the mouth's outer corners, of 68 points.

    Returns:
        None where the points give no square.
    """
    right_eye, left_eye, _, right_mouth, left_mouth = points
    eyes, mouth = (right_eye + left_eye) / 2, (right_mouth + left_mouth) / 2
    eye_to_eye, eye_to_mouth = left_eye - right_eye, mouth - eyes
    across = eye_to_eye - 1j * eye_to_mouth
    half = max(2 * abs(eye_to_eye), 1.8 * abs(eye_to_mouth))
    if abs(across) <= _LEAST or half <= _LEAST:
        return None
    return Aligned(eyes + 0.1 * eye_to_mouth, across / abs(across), 2 * half)

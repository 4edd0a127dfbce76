"""Where a head ends: its chin and its crown, estimated from the face's box and its eyes.

Measured on 40 heads of ../shared/data that were labelled by eye, with what hair they have: see
`python -m benchmarks heads`, and docs/crop/crops.md for the error.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

_CHIN = 1.015
"""The chin's distance from the eyes, over that of the lower end of the box."""

_CROWN = 0.883
"""The crown's distance from the eyes, over the width of the box."""

_LEAST = 0.2  # of the box's height: nearer to the eyes than that is no chin


class Head(NamedTuple):
    """Points on the axis of a face, in pixels of the upright full image.

    Attributes:
        eyes: midway between them.
        across: of length 1, from the right eye, on the left of the picture, to the left one.
        chin, crown: the lowest and the highest of the head, the hair with it.
    """

    eyes: complex
    across: complex
    chin: complex
    crown: complex

    @property
    def height(self) -> float:
        """From the chin to the crown."""
        return abs(self.chin - self.crown)


def head_of(box: Sequence[float], points: Sequence[complex]) -> Head:
    """Estimate a head.

    Args:
        box: x, y, w, h of the face.
        points: the five, in the order of `LANDMARKS`; the eyes are apart.
    """
    x, y, w, h = box
    eyes, across = (points[0] + points[1]) / 2, points[1] - points[0]
    across /= abs(across)
    down = 1j * across
    # half of the box along the axis and across it, were it the ellipse in that box
    along = abs(complex(down.real * w, down.imag * h)) / 2
    aside = abs(complex(across.real * w, across.imag * h)) / 2
    middle = (complex(x + w / 2, y + h / 2) - eyes) / down
    chin = max(_CHIN * (middle.real + along), _LEAST * 2 * along)
    return Head(eyes, across, eyes + chin * down, eyes - _CROWN * 2 * aside * down)

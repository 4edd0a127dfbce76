"""Faces that were found before, to be cut out once more: plain data, for a child and its parent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from detection.errors import ImageWarning
from detection.framing.frame import Frame
from detection.framing.place import Placed, place
from detection.options import Cut
from detection.result import Box, Points

COARSEST_REDUCTION = 8
"""The strongest at which a JPEG can be decoded."""


class KnownFace(NamedTuple):
    """One face, as it was found.

    Attributes:
        page: of the file, from 0.
        box: x, y, w, h in pixels of the upright full image.
        landmarks: five x, y pairs in the same pixels, in the order of `LANDMARKS`, or None.
        turn: degrees clockwise, 0, 90, 180 or 270, by which it was turned, to stand upright.
    """

    page: int
    box: Box
    landmarks: Points | None
    turn: int

    @property
    def quarters(self) -> int:
        """Turns counterclockwise, 0 to 3, after which it stands upright."""
        return -self.turn // 90 % 4

    def placed(self, size: tuple[int, int], cut: Cut) -> Placed:
        """Where its crop lies on its page, of so many pixels; of `cut`, no preset is left."""
        return place(self.box, self.landmarks, size, self.quarters, cut)


@dataclass(frozen=True, slots=True)
class KnownFaces:
    """What is known of one image before it is cut once more.

    Attributes:
        sha256: of its bytes, in hex; "" where nobody knows.
        size: width and height of its first page, upright, in pixels.
        faces: to be cut out, page by page.
        coarsest: reduction at which it may be decoded at most; where the same crops were made
            before, that at which they were, so that they come out the same.
        whole: whether its data is not in order, so that all of it has to be decoded.
    """

    sha256: str
    size: tuple[int, int]
    faces: Sequence[KnownFace]
    coarsest: int = COARSEST_REDUCTION
    whole: bool = False

    @property
    def pages(self) -> list[int]:
        """The pages with faces, in order."""
        return sorted({face.page for face in self.faces})

    def on(self, page: int) -> list[KnownFace]:
        """The faces of a page, in order."""
        return [face for face in self.faces if face.page == page]


@dataclass(frozen=True, slots=True)
class CutFace:
    """A face, cut out in one way.

    Attributes:
        size: width and height of its page, upright, in pixels.
        frame: what was cut out, in the same pixels.
        data: the encoded crop.
    """

    size: tuple[int, int]
    frame: Frame
    data: bytes


@dataclass(frozen=True, slots=True)
class Recut:
    """An image whose faces were cut out once more.

    Attributes:
        crops: for each way of cutting, those of the faces, in their order.
        warnings: for each way, what was done with a doubt, each once, in order.
        decode_ms, crop_ms: wall milliseconds; of all ways together.
    """

    crops: list[list[CutFace]]
    warnings: list[list[ImageWarning]]
    decode_ms: float
    crop_ms: float


@dataclass(frozen=True, slots=True)
class Changed:
    """An image that is not the one in which faces were found.

    Attributes:
        sha256: of its bytes, in hex.
    """

    sha256: str

"""The faces of an image: plain data, for the process that crops and for the one that asks it to."""

from __future__ import annotations

import math
from dataclasses import dataclass

from detection.errors import ImageWarning
from detection.geometry import Square
from detection.options import PhotoFormat


@dataclass(frozen=True, slots=True)
class Crop:
    """One face, cut out.

    Attributes:
        rank: 0 for the largest face of its image; those of the next page go on from there.
        page: of the file, from 0.
        size: width and height of that page, upright, in pixels.
        box: x, y, w, h in pixels of the upright full image; may reach past its edge.
        score: 0 to 1, None from a detector without scores.
        landmarks: five x, y pairs in the same pixels, in the order of `LANDMARKS`, or None.
        square: what was cut out, in the same pixels.
        turn: degrees clockwise, 0, 90, 180 or 270, by which it was turned then, to stand upright.
        sharpness: variance of the Laplacian of the crop.
        data: the encoded crop.
    """

    rank: int
    page: int
    size: tuple[int, int]
    box: tuple[float, float, float, float]
    score: float | None
    landmarks: tuple[tuple[float, float], ...] | None
    square: Square
    turn: int
    sharpness: float
    data: bytes

    @property
    def roll(self) -> float | None:
        """Degrees clockwise, -180 to 180, by which the line of the eyes is turned in the page."""
        if self.landmarks is None:
            return None
        (right_x, right_y), (left_x, left_y) = self.landmarks[:2]
        return math.degrees(math.atan2(left_y - right_y, left_x - right_x))


@dataclass(frozen=True, slots=True)
class Image:
    """The result of one image.

    Attributes:
        width, height: of the upright full image, in pixels; of several pages, the first.
        crops: by rank.
        pages: pictures in the file; None where its format has but one.
        warnings: what was done with a doubt, each once, in order.
        decode_ms, detect_ms, crop_ms: wall milliseconds; detect_ms holds the decoding of pixels for
            finer passes, crop_ms that for crops, cutting and encoding.
        photo: the photograph with its faces covered, where that was asked for; its crops have no
            data then.
        photo_format: of that.
    """

    width: int
    height: int
    crops: list[Crop]
    pages: int | None
    warnings: list[ImageWarning]
    decode_ms: float
    detect_ms: float
    crop_ms: float
    photo: bytes = b""
    photo_format: PhotoFormat | None = None

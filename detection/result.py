"""The faces of an image: plain data, for the process that crops and for the one that asks it to."""

from __future__ import annotations

import math
from dataclasses import dataclass

from detection.errors import ImageWarning
from detection.framing.border import outside
from detection.framing.frame import Frame
from detection.framing.head import Head, head_of
from detection.geometry import Square
from detection.options import PhotoFormat
from detection.pose import look

Box = tuple[float, float, float, float]
Points = tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Crop:
    """One face, cut out.

    Attributes:
        rank: 0 for the face of its image that comes first by `pick_score`; those of the next page
            go on from there.
        page: of the file, from 0.
        size: width and height of that page, upright, in pixels.
        box: x, y, w, h in pixels of the upright full image; may reach past its edge.
        score: 0 to 1, None from a detector without scores.
        landmarks: five x, y pairs in the same pixels, in the order of `LANDMARKS`, or None.
        frame: what was cut out, in the same pixels.
        turn: degrees clockwise, 0, 90, 180 or 270, by which it was turned, to stand upright.
        sharpness: of its box, 0 to 1, as `detection.quality` measures it.
        data: the encoded crop.
        pick_score: what it was ranked by, 0 to 1: `detection.pick`.
        sharpness_scale: size of the pixels that the sharpness is of, over their full size: 1, or a
            half, a quarter, an eighth where a JPEG was decoded so.
        brightness, contrast: mean and standard deviation of the luma of its box, 0 to 255.
    """

    rank: int
    page: int
    size: tuple[int, int]
    box: Box
    score: float | None
    landmarks: Points | None
    frame: Frame
    turn: int
    sharpness: float
    data: bytes
    pick_score: float
    sharpness_scale: float
    brightness: float
    contrast: float

    @property
    def square(self) -> Square:
        """What was cut out, or the square that it fits into, in the same pixels."""
        return self.frame.square

    @property
    def outside(self) -> float:
        """Share of the crop, 0 to 1, that lies past its photograph's border."""
        return outside(self.frame, *self.size)

    @property
    def eye_distance(self) -> float | None:
        """Pixels of the page from eye to eye."""
        return None if self.landmarks is None else math.dist(*self.landmarks[:2])

    @property
    def head_height(self) -> float | None:
        """From the chin to the crown, as both are estimated, over the height of the crop."""
        head = self._head
        return None if head is None else head.height * self.frame.scale / self.frame.height

    @property
    def eye_line(self) -> float | None:
        """The height at which the eyes are in the crop, from its top, over its own."""
        head = self._head
        return None if head is None else self.frame.similarity(head.eyes).imag / self.frame.height

    @property
    def _head(self) -> Head | None:
        if self.landmarks is None or not self.eye_distance:
            return None
        return head_of(self.box, [complex(*point) for point in self.landmarks])

    @property
    def roll(self) -> float | None:
        """Degrees clockwise, -180 to 180, by which the line of the eyes is turned in the page."""
        if self.landmarks is None:
            return None
        (right_x, right_y), (left_x, left_y) = self.landmarks[:2]
        return math.degrees(math.atan2(left_y - right_y, left_x - right_x))

    @property
    def look(self) -> tuple[float, float] | None:
        """Yaw and pitch in degrees, as `detection.pose` estimates them; None without landmarks."""
        return None if self.landmarks is None else look(self.landmarks)


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
        phash: hexadecimal digits that differ little where pictures do, by `detection.phash`; of
            several pages, the first. "" where it was not looked at.
        cpu_ms: milliseconds of CPU that it took, however busy the machine is.
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
    phash: str = ""
    cpu_ms: float = 0.0

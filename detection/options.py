"""What finding and cutting faces takes of the settings, without the model that checks them.

`detection.settings` has the models. A child process is sent what they say, and need not import
pydantic, which takes as long as all else that it imports.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

ImageFormat = Literal["jpg", "png", "webp"]
Method = Literal["yunet", "haar"]
Pages = Literal["first", "all"]
Color = Literal["srgb", "keep"]
Pick = Literal["largest", "central", "best"]
Metadata = Literal["none", "safe", "all"]
Cover = Literal["blur", "pixelate", "mask"]
PhotoFormat = Literal["jpg", "png", "webp", "tif"]
Enlarge = Literal["yes", "no"]
Align = Literal["none", "level", "arcface", "ffhq"]
FrameKind = Literal["box", "head"]
Border = Literal["replicate", "reflect", "color", "shrink"]

MOST_CROP_SIDE = 2048
"""Of a crop, in pixels."""

JPEG_TIMES = 8
"""How many times as many pixels a JPEG may have as other images, as it is decoded reduced: at an
eighth of its size, for less than that of the time."""

MEMORY_MIB = 3072
"""That one image may take, where nothing else is said."""

HASH_DIGITS = 16
"""Hexadecimal, of a picture's perceptual hash."""

MOST_FACES = 10_000
"""Of an image, also where all are wanted."""

MOST_PROFILE_BYTES = 1 << 22
"""Of an ICC profile that is used or embedded. Cameras' have some hundred, printers' 2 MiB."""

MOST_EXIF_BYTES = 60_000
"""Of an Exif block that is written: one segment of a JPEG takes 65,527."""

MOST_XMP_BYTES = 60_000
"""Of an XMP packet that is read or written, for the same reason."""


@dataclass(frozen=True, slots=True)
class DetectionPasses:
    """How often, and how finely, an image is searched.

    Attributes:
        side: longest side, in pixels, of the image in the first pass.
        min_score: lowest, 0 to 1, that YuNet may give a face.
        follows: whether the first pass has more pixels where the picture is large or long.
        finer: shares of the full size, rising, of the passes that may come after it.
        everywhere: the share up to which these need no reason.
        turned_side: longest side, in pixels, at which an image is searched in each of its other
            orientations where its own gives reason; 0: it is not.
        turned_from, turned_below: between which the best score has to be, 0 to 1, for that.
    """

    side: int
    min_score: float
    follows: bool = False
    finer: tuple[float, ...] = ()
    everywhere: float = 0
    turned_side: int = 0
    turned_from: float = 0
    turned_below: float = 0


@dataclass(frozen=True, slots=True)
class DetectionOptions:
    """How faces are found; `DetectionSettings` says what each of these means."""

    method: Method
    passes: DetectionPasses
    min_face: int
    max_overlap: float
    model: str
    pages: Pages


@dataclass(frozen=True, slots=True)
class CutOptions:
    """How faces are cut out; `CutSettings` says what each of these means."""

    size: int
    width: int
    height: int
    enlarge: Enlarge
    padding: float
    align: Align
    frame: FrameKind
    head_height: float
    eye_line: float
    border: Border
    border_color: str
    max_faces: int
    format: ImageFormat
    quality: int
    color: Color
    pick: Pick
    metadata: Metadata


if TYPE_CHECKING:
    from detection.settings import CutSettings, DetectionSettings

Detection: TypeAlias = "DetectionOptions | DetectionSettings"
Cut: TypeAlias = "CutOptions | CutSettings"


def crop_size(cut: Cut) -> tuple[int, int]:
    """Width and height of crops in pixels, but for `enlarge`; 0, 0 for the photograph's own."""
    return cut.width or cut.size or cut.height, cut.height or cut.size or cut.width

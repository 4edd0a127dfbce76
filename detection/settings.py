"""The settings for finding and cutting faces."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from detection.options import (
    MOST_CROP_SIDE,
    MOST_FACES,
    Align,
    Border,
    Color,
    DetectionPasses,
    Enlarge,
    FrameKind,
    ImageFormat,
    Metadata,
    Method,
    Pages,
    Pick,
)
from detection.presets import PRESETS, Preset

Profile = Literal["fast", "balanced", "thorough"]

_LEAST_SIDE = 64
_LEAST_CROP_SIDE = 16

PROFILES: Mapping[Profile, DetectionPasses] = {
    "fast": DetectionPasses(side=384, min_score=0.7),
    "balanced": DetectionPasses(
        side=640,
        min_score=0.7,
        follows=True,
        finer=(0.5,),
        turned_side=256,
        turned_from=0.2,
        turned_below=0.88,
    ),
    "thorough": DetectionPasses(
        side=640,
        min_score=0.7,
        follows=True,
        finer=(0.5, 1),
        everywhere=0.5,
        turned_side=384,
        turned_below=0.92,
    ),
}
"""Points on the edge of recall against time: see docs/decisions/0011-profiles.md."""


class DetectionSettings(BaseModel, title="Detection"):
    """How faces are found."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    profile: Profile = Field(
        "balanced",
        description="Recall against time. fast: one detection pass at 384 pixels. balanced: one at "
        "640, larger for large or long pictures, then one at half of the full size around small "
        "faces, a coarser one where a face fills the picture, and turned ones where faces look as "
        "if it lay on its side. thorough: at half of the full size everywhere, then at the full "
        "size around small or doubtful faces, and turned also where nobody is found.",
    )
    method: Method = Field(
        "yunet",
        description="Detector: yunet (a small neural network) or haar (the classic cascade).",
    )
    side: int = Field(
        0,
        ge=0,
        le=4096,
        description="Longest side in pixels, from 64, of the first detection pass; 0: as the "
        "profile has it. Larger finds smaller faces and costs time in proportion to its square. "
        "With it, fast and balanced have just this one pass. Images are never enlarged.",
    )
    min_score: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Lowest score, 0 to 1, that YuNet may give a face; 0: as the profile has it. "
        "Haar gives no score.",
    )
    min_face: int = Field(
        16,
        ge=1,
        le=10_000,
        description="Smallest face in pixels of the original image: the shorter side of its box.",
    )
    max_overlap: float = Field(
        0.3,
        ge=0,
        lt=1,
        description="Two boxes that overlap by more than this IoU, 0 to 1, are one face.",
    )
    model: str = Field(
        "",
        description="Path of another YuNet ONNX file. Empty: the one that Facecrop installs.",
    )
    pages: Pages = Field(
        "first",
        description="Pages of a TIFF that are searched: the first that is no thumbnail, or all.",
    )

    @field_validator("side")
    @classmethod
    def _side_is_enough(cls, side: int) -> int:
        if 0 < side < _LEAST_SIDE:
            raise ValueError(f"should be 0 or at least {_LEAST_SIDE}")
        return side

    @property
    def passes(self) -> DetectionPasses:
        """Those of the profile, with what was chosen besides."""
        passes = PROFILES[self.profile]
        follows, finer = passes.follows and not self.side, passes.finer
        if self.method == "haar" or (self.side and self.profile == "balanced"):
            # the cascade gives no scores that could be in doubt
            follows, finer = False, ()
        return replace(
            passes,
            side=self.side or passes.side,
            min_score=self.min_score or passes.min_score,
            follows=follows,
            finer=finer,
            turned_side=passes.turned_side if self.method == "yunet" else 0,
        )

    def spelled_out(self) -> DetectionSettings:
        """The same settings with nothing left to the profile: equal wherever they do the same."""
        passes = self.passes
        profile: Profile = "balanced" if passes.turned_side or self.method == "haar" else "fast"
        if len(passes.finer) > 1:
            profile = "thorough"
        side = 0 if passes.follows else passes.side
        chosen = {"profile": profile, "side": side, "min_score": passes.min_score}
        return self.model_copy(update=chosen)


class CutSettings(BaseModel, title="Crop"):
    """How faces are cut out."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    preset: Preset = Field(
        "none",
        description="Sets width, height, align, frame, head_height, eye_line and border, where "
        "they have their defaults. id-35x45: 413 x 531 pixels, the head 74 % of the height. "
        "us-2x2: 600 x 600, 59 %. school-4x5: 640 x 800, 50 %. avatar: 512 x 512, 62 %. "
        "dataset-112: ArcFace's 112 x 112. No authority has been asked whether it takes one.",
    )
    size: int = Field(
        300,
        ge=0,
        le=MOST_CROP_SIDE,
        description="Width and height of a crop in pixels, from 16. 0: in the photograph's own "
        f"pixels, not resampled where they stand upright; of more than {MOST_CROP_SIDE} a side, "
        "made smaller.",
    )
    padding: float = Field(
        0.2,
        ge=0,
        le=2,
        description="Room on each side of the face, as a share of the longer side of its box; "
        "more on two of them where the crop is no square.",
    )
    align: Align = Field(
        "none",
        description="level: turned so that the eyes are on one level. arcface: on the five points "
        "that ArcFace's recognition is trained on, in 112 x 112 pixels, which are scaled to the "
        "crop's shorter side and centred. ffhq: framed as Flickr-Faces-HQ is, likewise. Faces "
        "without landmarks, as haar's, are as with none, and have the warning unaligned.",
    )
    max_faces: int = Field(
        0,
        ge=0,
        le=MOST_FACES,
        description="At most this many faces an image, in the order of crop.pick. 1 keeps the "
        "first, 0 keeps all.",
    )
    pick: Pick = Field(
        "largest",
        description="Order of an image's faces, and so which are kept where max_faces says how "
        "many. largest: by size. central: by how near to the middle, weighed by size, so that "
        "nobody far behind comes first. best: by size, nearness to the middle, sharpness, looking "
        "at the camera and the detector's score together.",
    )
    width: int = Field(
        0, ge=0, le=MOST_CROP_SIDE, description="Width of a crop in pixels, from 16. 0: as size."
    )
    height: int = Field(
        0, ge=0, le=MOST_CROP_SIDE, description="Height of a crop in pixels, from 16. 0: as size."
    )
    enlarge: Enlarge = Field(
        "yes",
        description="no: a crop never has more pixels than its part of the photograph, and is "
        "smaller then, in the same shape.",
    )
    frame: FrameKind = Field(
        "box",
        description="box: around the face's box, with padding. head: around the head, by "
        "head_height and eye_line, estimated from box and landmarks. arcface and ffhq have frames "
        "of their own.",
    )
    head_height: float = Field(
        0.6,
        ge=0.1,
        le=1,
        description="From the chin to the crown, as a share of the height of a crop around the "
        "head.",
    )
    eye_line: float = Field(
        0.45,
        ge=0.05,
        le=0.95,
        description="Where the eyes are in a crop around the head: a share of its height, from "
        "the top.",
    )
    border: Border = Field(
        "replicate",
        description="What a crop has past the photograph's border. replicate: the border's "
        "pixels. reflect: the photograph mirrored. color: border_color. shrink: nothing, as the "
        "crop is moved inside, and made smaller where it does not fit.",
    )
    border_color: str = Field(
        "ffffff",
        description="Colour past the border: red, green and blue in hexadecimal, such as ffffff.",
    )
    format: ImageFormat = Field("jpg", description="File format of the crops.")
    quality: int = Field(90, ge=1, le=100, description="Quality of JPEG and WebP crops, 1 to 100.")
    color: Color = Field(
        "srgb",
        description="Colours of the crops. srgb: converted from the image's profile, where that is "
        "another; keep: as they are, with the profile embedded. What is grey, CMYK or L*a*b* is "
        "converted all the same.",
    )
    metadata: Metadata = Field(
        "none",
        description="What of the photograph's metadata goes along. safe: time, camera, exposure, "
        "copyright and artist; never the place, a serial number, an owner's name, a maker note, a "
        "thumbnail or XMP. all: Exif with the place, and XMP; without maker note and thumbnails.",
    )

    @field_validator("size", "width", "height")
    @classmethod
    def _crop_is_enough(cls, side: int) -> int:
        if 0 < side < _LEAST_CROP_SIDE:
            raise ValueError(f"should be 0 or at least {_LEAST_CROP_SIDE}")
        return side

    @field_validator("border_color")
    @classmethod
    def _is_a_color(cls, color: str) -> str:
        if not re.fullmatch("[0-9a-fA-F]{6}", color):
            raise ValueError("should be six hexadecimal digits, such as ffffff for white")
        return color.lower()

    def spelled_out(self) -> CutSettings:
        """The same settings with nothing left to the preset: equal wherever they do the same."""
        chosen = {
            name: value
            for name, value in PRESETS[self.preset].items()
            if getattr(self, name) == type(self).model_fields[name].default
        }
        return self.model_copy(update={**chosen, "preset": "none"})

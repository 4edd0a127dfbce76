"""The settings for finding and cutting faces."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from detection.options import (
    MOST_CROP_SIDE,
    MOST_FACES,
    Color,
    DetectionPasses,
    ImageFormat,
    Metadata,
    Method,
    Pages,
    Pick,
)

Profile = Literal["fast", "balanced", "thorough"]

_LEAST_SIDE = 64

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

    method: Method = Field(
        "yunet",
        description="Detector: yunet (a small neural network) or haar (the classic cascade).",
    )
    profile: Profile = Field(
        "balanced",
        description="Recall against time. fast: one detection pass at 384 pixels. balanced: one at "
        "640, larger for large or long pictures, then one at half of the full size around small "
        "faces, a coarser one where a face fills the picture, and turned ones where faces look as "
        "if it lay on its side. thorough: at half of the full size everywhere, then at the full "
        "size around small or doubtful faces, and turned also where nobody is found.",
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

    size: int = Field(
        300, ge=16, le=MOST_CROP_SIDE, description="Width and height of a crop in pixels."
    )
    padding: float = Field(
        0.2,
        ge=0,
        le=2,
        description="Room on each side of the face, as a share of the longer side of its box.",
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

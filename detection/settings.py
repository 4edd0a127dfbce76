"""What a person may choose about finding and cutting faces."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

ImageFormat = Literal["jpg", "png", "webp"]
Profile = Literal["fast", "balanced", "thorough"]

FINER = 1.6
"""Longest side of a second look over that of the first."""

_LEAST_SIDE = 64

MOST_CROP_SIDE = 2048
"""Of a crop, in pixels."""


@dataclass(frozen=True, slots=True)
class Effort:
    """What is done to find a face.

    Attributes:
        side: longest, in pixels, at which faces are looked for.
        min_score: lowest, 0 to 1, that YuNet may give a face.
        second_look: whether what the first look leaves in doubt is looked at again.
    """

    side: int
    min_score: float
    second_look: bool

    @property
    def finest_side(self) -> int:
        """Longest side in pixels of any look."""
        return round(self.side * FINER) if self.second_look else self.side


PROFILES: Mapping[Profile, Effort] = {
    "fast": Effort(384, 0.7, second_look=False),
    "balanced": Effort(640, 0.7, second_look=False),
    "thorough": Effort(640, 0.7, second_look=True),
}
"""Points on the edge of recall against time: see docs/decisions/0011-profiles.md."""


class DetectionSettings(BaseModel):
    """How faces are found."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: Literal["yunet", "haar"] = Field(
        "yunet",
        description="Detector: yunet (a small neural network) or haar (the classic cascade).",
    )
    profile: Profile = Field(
        "balanced",
        description="How much time a face is worth. fast: looks at 384 pixels; balanced: at 640; "
        "thorough: at 640, then again, finer, where that leaves doubts, and turned where it finds "
        "nobody.",
    )
    side: int = Field(
        0,
        ge=0,
        le=4096,
        description="Longest side in pixels, from 64, at which faces are looked for; 0: as the "
        "profile has it. Larger finds smaller faces and costs time in proportion to its square. "
        "Images are never enlarged.",
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

    @field_validator("side")
    @classmethod
    def _side_is_enough(cls, side: int) -> int:
        if 0 < side < _LEAST_SIDE:
            raise ValueError(f"should be 0 or at least {_LEAST_SIDE}")
        return side

    @property
    def effort(self) -> Effort:
        """What the profile does, with what was chosen besides."""
        effort = PROFILES[self.profile]
        return replace(
            effort,
            side=self.side or effort.side,
            min_score=self.min_score or effort.min_score,
            # the cascade gives no scores that could be in doubt
            second_look=effort.second_look and self.method == "yunet",
        )

    def spelled_out(self) -> DetectionSettings:
        """The same, and equal for all settings that do the same: nothing left to the profile."""
        effort = self.effort
        profile: Profile = "thorough" if effort.second_look else "balanced"
        chosen = {"profile": profile, "side": effort.side, "min_score": effort.min_score}
        return self.model_copy(update=chosen)


class CutSettings(BaseModel):
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
        le=10_000,
        description="At most this many faces an image, the largest first. 1 keeps the largest, "
        "0 keeps all.",
    )
    format: ImageFormat = Field("jpg", description="File format of the crops.")
    quality: int = Field(90, ge=1, le=100, description="Quality of JPEG and WebP crops, 1 to 100.")

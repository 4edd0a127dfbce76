"""What a person may choose about finding and cutting faces."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

ImageFormat = Literal["jpg", "png", "webp"]


class DetectionSettings(BaseModel):
    """How faces are found."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: Literal["yunet", "haar"] = Field(
        "yunet",
        description="Detector: yunet (a small neural network) or haar (the classic cascade).",
    )
    side: int = Field(
        640,
        ge=64,
        le=4096,
        description="Longest side in pixels at which faces are looked for. Larger finds smaller "
        "faces and costs time in proportion to its square. Images are never enlarged.",
    )
    min_score: float = Field(
        0.7,
        gt=0,
        le=1,
        description="Lowest score, 0 to 1, that YuNet may give a face. Haar gives no score.",
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


class CutSettings(BaseModel):
    """How faces are cut out."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    size: int = Field(300, ge=16, le=2048, description="Width and height of a crop in pixels.")
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

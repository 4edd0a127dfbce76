"""Images that were found in batches, as JSON."""

from __future__ import annotations

from uuid import UUID

from pydantic import BaseModel, Field

from intake.http.bodies import BATCH, Camel


class FoundFace(BaseModel):
    """A face of an image that was found."""

    rank: int = Field(examples=[0])
    x: float = Field(description="Of its box, in pixels of the upright image.", examples=[201.5])
    y: float = Field(examples=[96.0])
    w: float = Field(examples=[80.0])
    h: float = Field(examples=[104.0])
    score: float | None = Field(examples=[0.93])
    crop: str | None = Field(description="Below the output.", examples=["crops/a.jpg_0.jpg"])


class FoundImage(Camel):
    """What became of an image in one batch."""

    batch_id: UUID = Field(examples=[BATCH])
    member: int = Field(description="Its place in the archive, from 0.", examples=[17])
    path: str = Field(examples=["day 2/IMG_0017.jpg"])
    status: str = Field(examples=["cropped"])
    error: str | None = Field(description="A code.", examples=[None])
    message: str | None = Field(examples=[None])
    bytes: int = Field(examples=[3_512_004])
    width: int | None = Field(None, examples=[4000])
    height: int | None = Field(None, examples=[3000])
    sha256: str | None = Field(None, description="Of its file.")
    warnings: list[str] | None = Field(None, description="Codes: what was done with a doubt.")
    file: str | None = Field(None, description="The photograph with its faces covered.")
    faces: list[FoundFace]


class FoundPage(Camel):
    """The images that were found in some batches, the newest batches first."""

    offset: int = Field(description="Batches that were left out.", examples=[0])
    limit: int = Field(description="Batches that were looked at, at most.", examples=[50])
    found: list[FoundImage]
    unread: list[UUID] = Field(description="Batches whose output could not be read.", examples=[[]])
    more: bool = Field(description="Whether there are older batches.", examples=[False])

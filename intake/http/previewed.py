"""The bodies of requests for previews, and of the answers."""

from __future__ import annotations

from typing import Self
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, Field

from detection.settings import Profile
from intake.control import previews
from intake.http.bodies import BATCH, Camel, FromUri
from pipeline.preview import COUNT, MOST
from pipeline.preview.run import Asked, Preview


class AskPreview(FromUri):
    """An archive in storage, of which some members are to be cropped to say what all come to."""

    count: int = Field(COUNT, ge=1, le=MOST, description="Members to crop.")
    seed: int = Field(1, ge=0, le=2**53, description="Another one has other members chosen.")
    compare: list[Profile] = Field(
        [], max_length=3, description="Detection profiles to put side by side."
    )
    workers: int = Field(1, ge=1, le=10_000, description="That the batch is to have.")
    cores: int = Field(
        0, ge=0, le=1024, description="Of each worker; 0: as many as the one of the preview has."
    )
    by: AwareDatetime | None = Field(
        None,
        description="When it is to be done: it is told how many workers that takes.",
        examples=["2026-03-02T08:00:00+01:00"],
    )

    @property
    def asked(self) -> Asked:
        """What is to be told."""
        return Asked(self.count, self.seed, self.compare, self.workers, self.cores, self.by)


class PreviewLinks(BaseModel):
    """Addresses of what there is about a preview, without the host."""

    status: str
    report: str

    @classmethod
    def of(cls, preview: UUID, root: str) -> Self:
        """Those of a preview, at a service that a proxy may serve below `root`."""
        base = f"{root}/api/preview/{preview}"
        return cls(status=base, report=f"{base}/report")


class PreviewStatus(Camel):
    """How far a preview is, and what it says."""

    preview_id: UUID = Field(examples=[BATCH])
    state: str = Field(
        description="queued, running, cancelling, completed, failed or cancelled.",
        examples=["completed"],
    )
    message: str = Field("", description="What the state says of itself.")
    preview: Preview | None = Field(
        None, description="As `preview.json` has it; null unless it is completed."
    )
    links: PreviewLinks

    @classmethod
    def of(cls, seen: previews.Seen, root: str) -> Self:
        """A preview as clients get it."""
        told = seen.preview
        return cls(
            preview_id=seen.id,
            state=seen.state,
            message=seen.message,
            # where the service keeps it is no client's business
            preview=None if told is None else told.model_copy(update={"report": ""}),
            links=PreviewLinks.of(seen.id, root),
        )

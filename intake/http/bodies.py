"""What goes over the wire: the bodies of the HTTP service's requests and answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Self, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic.alias_generators import to_camel
from pydantic.json_schema import models_json_schema

from intake.control import batches
from intake.control.queues import Queue
from intake.http.json_reader import JsonError, read_json
from intake.http.problems import ProblemBody, ProblemError, invalid
from pipeline.recrop.settings import RecropSettings
from pipeline.settings import CropSettings

BATCH = "0198c5a2-6f0e-7c3a-9d53-2f1f0f3c9a41"
TERMS_VALUES = 500
"""Most values in the JSON of all that a client says about a batch, but for its images."""

_Uri = Annotated[str, Field(min_length=1, max_length=4096, pattern=r"^[^\x00-\x1f\x7f]+$")]
Body = TypeVar("Body", bound=BaseModel)


class Camel(BaseModel):
    """A body whose names are written as JavaScript has them."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class Links(BaseModel):
    """Addresses of all that there is about a batch, without the host."""

    status: str
    events: str
    failed: str
    manifest: str
    crops: str
    report: str
    retry: str
    recrop: str
    cancel: str
    pause: str
    resume: str

    @classmethod
    def of(cls, batch: UUID, root: str) -> Self:
        """Those of a batch, at a service that a proxy may serve below `root`."""
        base = f"{root}/api/batch"
        status = f"{base}/status/{batch}"
        own = {
            name: f"{base}/{batch}/{name}"
            for name in (
                *("failed", "manifest", "report", "retry", "recrop", "cancel", "pause", "resume"),
            )
        }
        crops = f"{base}/{batch}/crops.zip"
        return cls(status=status, events=f"{status}/events", crops=crops, **own)


class Terms(Camel):
    """What a client says about a batch."""

    model_config = ConfigDict(extra="forbid")

    project_id: str = Field(
        "",
        max_length=100,
        pattern=r"^[^\x00-\x1f\x7f]*$",
        description="Whom the batch is for.",
        examples=["wedding-2026"],
    )
    priority: int = Field(5, ge=1, le=10, description="1 goes first.")
    settings: CropSettings = Field(
        CropSettings(), description="How faces are found and cut; all of it may be left out."
    )

    @field_validator("settings", mode="before")
    @classmethod
    def _parse(cls, settings: Any) -> Any:
        """In a form, the settings are a JSON string."""
        if not isinstance(settings, str):
            return settings
        return read_json(settings, TERMS_VALUES)

    @field_validator("settings")
    @classmethod
    def _no_model(cls, settings: CropSettings) -> CropSettings:
        if settings.detection.model:
            raise ValueError("detection.model is a path on the workers, not for clients to choose")
        return settings


class FromUri(Terms):
    """An archive that is in storage already."""

    archive: _Uri = Field(
        description="ZIP, TAR (compressed or not), a folder (a slash at its end), or a .txt list "
        "of image URIs, under a prefix that the service may read.",
        examples=["s3://photos/incoming/wedding.zip"],
    )


class AddImages(Terms):
    """Images that are in storage already."""

    images: list[_Uri] = Field(
        min_length=1,
        fail_fast=True,
        description="URIs, under a prefix that the service may read.",
        examples=[["s3://photos/a.jpg", "s3://photos/b.jpg"]],
    )


class Queued(Camel):
    """A batch that was handed in."""

    batch_id: UUID = Field(examples=[BATCH])
    image_count: int | None = Field(
        description="Members of the archive; null for a compressed TAR, which would have to be "
        "read to its end.",
        examples=[2000],
    )
    queued: bool = True
    links: Links


class Progress(BaseModel):
    """Counts of images, but for `faces`."""

    processed: int = Field(examples=[640])
    total: int | None = Field(description="null while it is not known.", examples=[2000])
    failed: int = Field(examples=[3])
    faces: int = Field(examples=[1021])
    rejected: int = Field(0, description="Of the faces, not worth keeping.", examples=[0])


class BatchStatus(Camel):
    """How far a batch is."""

    batch_id: UUID = Field(examples=[BATCH])
    state: str = Field(
        description="queued, running, paused, cancelling, completed, failed or cancelled.",
        examples=["running"],
    )
    message: str = Field(description="What the state says of itself.", examples=[""])
    project: str = Field(examples=["wedding-2026"])
    progress: Progress
    progress_percent: float = Field(examples=[32.0])
    images_per_second: float = Field(examples=[41.5])
    seconds_left: float | None = Field(description="null where it cannot be told.", examples=[33])
    links: Links

    @classmethod
    def of(cls, seen: batches.Status, root: str) -> Self:
        """A status as clients get it."""
        counts, left = seen.counts, seen.seconds_left
        return cls(
            batch_id=seen.id,
            state=seen.state,
            message=seen.message,
            project=seen.project,
            progress=Progress(
                processed=counts.members,
                total=seen.total,
                failed=counts.failed,
                faces=counts.faces,
                rejected=counts.not_kept,
            ),
            progress_percent=round(100 * seen.share, 1),
            images_per_second=round(seen.images_per_second, 1),
            seconds_left=None if left is None else round(left, 1),
            links=Links.of(seen.id, root),
        )


class Face(BaseModel):
    """A face, as `faces.parquet` has it."""

    member: int = Field(description="Its photograph's place in the archive, from 0.", examples=[17])
    path: str = Field(examples=["day 2/IMG_0017.jpg"])
    rank: int = Field(description="0 is the face that comes first, by `crop.pick`.", examples=[0])
    page: int | None = Field(None, description="Of a file of several, from 0.", examples=[0])
    x: float = Field(description="Pixels of the upright image, as all that follow.")
    y: float
    w: float
    h: float
    score: float | None
    landmarks: list[float] | None = Field(
        description="x, y of right eye, left eye, nose, right and left corner of the mouth."
    )
    crop_x: int
    crop_y: int
    crop_side: int
    outside: float | None = Field(None, description="Share of the crop that lies past the image.")
    turn: int | None = Field(None, description="Degrees clockwise by which the crop was turned.")
    roll: float | None = Field(None, description="Degrees clockwise of the line of the eyes.")
    sharpness: float = Field(description="0 to 1, in the pixels that `sharpness_scale` tells.")
    crop: str | None = Field(
        description="Its path; null where it was dropped, or photographs are blurred instead.",
        examples=["crops/IMG_0017.jpg_0.jpg"],
    )
    pick_score: float | None = Field(None, description="What it was ranked by, 0 to 1.")
    sharpness_scale: float | None = Field(None, description="Of the full size; see `sharpness`.")
    yaw: float | None = Field(None, description="Degrees, to the right of the upright picture.")
    pitch: float | None = Field(None, description="Degrees, up.")
    brightness: float | None = Field(None, description="Mean of its luma, 0 to 255.")
    contrast: float | None = Field(None, description="Standard deviation of its luma.")
    kept: bool | None = Field(None, description="Whether it is worth keeping, by the settings.")
    kept_why: list[str] | None = Field(None, description="Codes: why it is not.")
    crop_w: int | None = Field(None, description="Of the crop's file, in pixels.")
    crop_h: int | None = None
    crop_scale: float | None = Field(None, description="Pixels of the crop a pixel of the image.")
    eye_distance: float | None = Field(None, description="Pixels of the upright image.")
    matrix: list[float] | None = Field(
        None, description="2x3, by rows: from pixels of the upright image to the crop's."
    )
    head_height: float | None = Field(
        None, description="Chin to crown as a share of the crop's height, estimated."
    )
    eye_line: float | None = Field(
        None, description="Of the eyes, as a share of the crop's height from its top."
    )


class Waited(Queued, BatchStatus):
    """A batch that was handed in, and how far it was when it ended or the wait was over."""

    faces: list[Face] | None = Field(
        None, description="The first of them; null unless it is completed."
    )
    more_faces: bool = Field(False, description="Whether there are others behind these.")

    @classmethod
    def after(cls, queued: Queued, seen: batches.Status, root: str) -> Self:
        """A batch that was handed in, with its status and no faces."""
        return cls(**{**dict(queued), **dict(BatchStatus.of(seen, root))})


class FailedImage(BaseModel):
    """A member of the archive that could not be done."""

    member: int = Field(description="Its place in the archive, from 0.", examples=[17])
    path: str = Field(examples=["day 2/IMG_0017.jpg"])
    error: str | None = Field(description="A code.", examples=["crc_mismatch"])
    message: str | None = Field(examples=["its bytes are not those that were packed"])


class FailedPage(Camel):
    """Some of the failed images of a batch, in the archive's order."""

    batch_id: UUID = Field(examples=[BATCH])
    offset: int = Field(examples=[0])
    limit: int = Field(examples=[1000])
    failed: list[FailedImage]
    more: bool = Field(description="Whether there are others behind these.", examples=[False])


class QueueCounts(Camel):
    """Runs of one priority: of batches, and of the shards of large ones."""

    waiting: int = 0
    active: int = 0
    completed: int = Field(0, description="In the last 24 hours.")
    failed: int = Field(0, description="In the last 24 hours.")
    late: int = Field(0, description="Those waiting that should have been begun by now.")
    oldest_wait_seconds: float | None = Field(None, description="null where none waits.")

    def add(self, queue: Queue) -> None:
        """Count a queue in."""
        self.waiting += queue.waiting
        self.active += queue.running
        self.completed += queue.done
        self.failed += queue.failed
        self.late += queue.late
        waits = (self.oldest_wait_seconds, queue.oldest_wait_seconds)
        self.oldest_wait_seconds = max((wait for wait in waits if wait is not None), default=None)


class QueueStats(BaseModel):
    """The queues of all work pools together."""

    queues: dict[str, QueueCounts] = Field(description="By priority, from 1 to 10.")
    totals: QueueCounts

    @classmethod
    def of(cls, queues: list[Queue]) -> Self:
        """Sum queues up by their priority."""
        stats = cls(
            queues={str(priority): QueueCounts() for priority in range(1, 11)}, totals=QueueCounts()
        )
        for queue in queues:
            stats.queues.setdefault(str(queue.priority), QueueCounts()).add(queue)
            stats.totals.add(queue)
        return stats


class Retried(Camel):
    """A run that retries the failed images of a batch."""

    batch_id: UUID = Field(examples=[BATCH])
    run_id: UUID = Field(description="Of the run in Prefect.", examples=[BATCH])
    queued: bool = True
    links: Links


class Recropping(Camel):
    """A run that cuts a batch's faces out another way: a batch of its own, to be followed so."""

    batch_id: UUID = Field(examples=[BATCH])
    of_batch_id: UUID = Field(description="Whose faces they are.", examples=[BATCH])
    queued: bool = True
    links: Links


def read_body(model: type[Body], data: bytes, most_values: int) -> Body:
    """A JSON body that holds so many values at most.

    Raises:
        ProblemError: it is none, or a field of it cannot be.
    """
    try:
        return model.model_validate(read_json(data, most_values))
    except JsonError as error:
        raise ProblemError(422, f"The body {error}.") from error
    except ValidationError as error:
        raise invalid(error) from error


def read_terms(fields: Mapping[str, str]) -> Terms:
    """The fields of a form or a query.

    Raises:
        ProblemError: one of them cannot be.
    """
    try:
        return Terms.model_validate(fields)
    except ValidationError as error:
        raise invalid(error) from error


def schemas(*more: type[Terms]) -> dict[str, Any]:
    """JSON schemas of the bodies that the service parses itself, for its OpenAPI document."""
    bodies = (FromUri, AddImages, Terms, CropSettings, RecropSettings, *more)
    models = [(model, "validation") for model in bodies]
    _, found = models_json_schema(
        [*models, (ProblemBody, "serialization")],  # type: ignore[list-item]
        ref_template="#/components/schemas/{model}",
    )
    defined: dict[str, Any] = found["$defs"]
    return defined

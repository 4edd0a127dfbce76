"""Previews as the Prefect server sees them: started, followed, and what they say."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import ObjectNotFound
from prefect.states import Scheduled
from pydantic import ValidationError

from intake.control.batches import (
    UnknownBatchError,
    absolute,
    deployment_named,
    owner_tags,
    state_of,
    tags_of,
)
from pipeline.preview.run import TOLD, Asked, Preview
from pipeline.settings import CropSettings
from storage.errors import OutputError
from storage.fs.redact import shown
from storage.output.output import Output
from tasks.lifecycle.priority import queue_name
from tasks.reporting.names import base_name

_FLOW = "preview"


@dataclass(frozen=True, slots=True)
class Seen:
    """A preview at one moment.

    Attributes:
        id: of its run.
        state: as of a batch's status.
        message: what the state says of itself; "" for nothing.
        report: the folder or prefix that it writes into.
        preview: what it says; None unless it is completed.
    """

    id: UUID
    state: str
    message: str
    report: str
    preview: Preview | None


def submit(
    client: SyncPrefectClient,
    batches: str,
    archive: str,
    report: str,
    settings: CropSettings,
    asked: Asked,
    *,
    priority: int,
    project: str,
    owner: str | None,
) -> FlowRun:
    """Start a preview where batches are cropped, and do not wait for it.

    Args:
        client: of the server.
        batches: the deployment that crops batches, as FLOW/NAME: that of previews has its name.
        archive, report: paths of this machine, or URIs.
        settings, asked: of the preview.
        priority: 1 (first) to 10.
        project: whom it is for.
        owner: through whose key it came; None for none.

    Raises:
        UnknownBatchError: the server has no such deployment.
    """
    found = deployment_named(client, f"{_FLOW}/{batches.partition('/')[2]}")
    return client.create_flow_run_from_deployment(
        found.id,
        parameters={
            "archive": absolute(archive),
            "report": absolute(report),
            "settings": settings.model_dump(mode="json"),
            "count": asked.count,
            "seed": asked.seed,
            "compare": list(asked.compare),
            "workers": asked.workers,
            "cores": asked.cores,
            "by": None if asked.by is None else asked.by.isoformat(),
        },
        name=f"preview of {base_name(archive)}",
        state=Scheduled(),
        tags=tags_of(project, owner),
        work_queue_name=queue_name(priority) if found.work_pool_name else None,
    )


def see(client: SyncPrefectClient, preview: UUID, owner: str | None = None) -> Seen:
    """How far a preview is; with an owner, only if it came through their key.

    Raises:
        UnknownBatchError: the server has none, or has forgotten it, or it is another's.
        StorageError, TransientError: what it says cannot be read from here.
    """
    unknown = UnknownBatchError(f"there is no preview {preview}; see the runs in the Prefect UI")
    try:
        run = client.read_flow_run(preview)
    except ObjectNotFound as error:
        raise unknown from error
    if not set(owner_tags(owner)).issubset(run.tags) or "report" not in run.parameters:
        raise unknown
    report, state = str(run.parameters["report"]), state_of(run)
    told = None
    if state == "completed":
        try:
            told = Preview.model_validate_json(b"".join(Output(report).pieces(TOLD)))
        except ValidationError as error:
            raise OutputError(
                f"{report}/{TOLD} is of another version of Facecrop. Preview the archive again."
            ) from error
    message = shown(run.state.message or "") if run.state else ""
    return Seen(preview, state, message, report, told)

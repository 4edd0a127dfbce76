"""Batches on a Prefect server: handing one in, and how far it is.

A batch is the flow run that crops it, so its id is that run's. Nothing else is kept of it here.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterIdempotencyKey,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectNotFound
from prefect.states import Scheduled

from intake.control.filters import PAGE, in_states, of_flows
from pipeline.settings import CropSettings
from pipeline.summary import Summary
from storage.errors import StorageError, TransientError
from storage.fs.location import resolve
from storage.fs.redact import shown
from storage.output.counts import Counts
from storage.output.output import Output
from tasks.lifecycle.priority import queue_name
from tasks.reporting.counts import read_snapshots
from tasks.reporting.names import PROJECT_TAG, name_batch, project_of

OWNER_TAG = "facecrop.owner:"
"""Begins the tag by which a run says through whose key it came."""

_FLOW = "crop-archive"
_POLL_SECONDS = 1.0

_STATES = {
    StateType.SCHEDULED: "queued",
    StateType.PENDING: "queued",
    StateType.RUNNING: "running",
    StateType.PAUSED: "paused",
    StateType.CANCELLING: "cancelling",
    StateType.COMPLETED: "completed",
    StateType.FAILED: "failed",
    StateType.CRASHED: "failed",
    StateType.CANCELLED: "cancelled",
}
FINAL = ("completed", "failed", "cancelled")


class BatchError(Exception):
    """A batch cannot be had, or cannot be done this to. The message is one line for a person."""


class UnknownBatchError(BatchError):
    """The server has no such batch, or no such deployment."""


@dataclass(frozen=True, slots=True)
class Status:
    """A batch at one moment.

    Attributes:
        id: of the batch.
        name: of its run.
        state: queued, running, paused, cancelling, completed, failed or cancelled.
        message: what the state says of itself; "" for nothing.
        archive, output: of the batch.
        project: whom it is for; "" for nobody in particular.
        counts: members accounted for so far.
        total: members in the archive; None while that is not known.
        share: how much of it is done, 0 to 1.
        images_per_second: members a second over the last half minute; 0 when it is not running.
        seconds_left: None where it cannot be told.
    """

    id: UUID
    name: str
    state: str
    message: str
    archive: str
    output: str
    project: str
    counts: Counts
    total: int | None
    share: float
    images_per_second: float
    seconds_left: float | None

    @property
    def final(self) -> bool:
        """Whether it will not change any more by itself."""
        return self.state in FINAL


def submit(
    client: SyncPrefectClient,
    deployment: str,
    archive: str,
    output: str,
    settings: CropSettings,
    *,
    priority: int = 5,
    project: str = "",
    key: str | None = None,
    owner: str | None = None,
    labels: Mapping[str, str] | None = None,
) -> FlowRun:
    """Start a run of a deployment, and do not wait for it.

    Args:
        deployment: FLOW/NAME.
        archive, output: paths of this machine, or URIs.
        settings: of the batch.
        priority: 1 (first) to 10.
        project: whom it is for.
        key: the same key gives the same batch, however often it is submitted.
        owner: through whose key it came; None for none.
        labels: that the run is to have.

    Raises:
        UnknownBatchError: the server has no such deployment.
    """
    found = deployment_named(client, deployment)
    return client.create_flow_run_from_deployment(
        found.id,
        parameters={
            "archive": absolute(archive),
            "output": absolute(output),
            "settings": settings.model_dump(mode="json"),
            "priority": priority,
        },
        name=name_batch(archive, project, priority if found.work_pool_name else 5),
        state=Scheduled(),
        tags=tags_of(project, owner),
        labels=dict(labels or {}),
        idempotency_key=key,
        # a served deployment has no pool, and so no queues
        work_queue_name=queue_name(priority) if found.work_pool_name else None,
    )


def deployment_named(client: SyncPrefectClient, name: str) -> DeploymentResponse:
    """A deployment by FLOW/NAME.

    Raises:
        UnknownBatchError: the server has none of this name.
    """
    try:
        return client.read_deployment_by_name(name)
    except ObjectNotFound as error:
        raise UnknownBatchError(
            f"the Prefect server has no deployment {name}; `prefect deployment ls` lists "
            "those it has, `python -P -m deployments` registers ours"
        ) from error


def tags_of(project: str, owner: str | None) -> list[str]:
    """The tags of a run: whom it is for, and through whose key it came."""
    return [*([PROJECT_TAG + project] if project else []), *owner_tags(owner)]


def owner_tags(owner: str | None) -> list[str]:
    """The tags of a run that came through somebody's key; none for None."""
    return [] if owner is None else [OWNER_TAG + owner]


def find(client: SyncPrefectClient, batch: UUID, owner: str | None = None) -> FlowRun:
    """The run of a batch; with an owner, only if it came through their key.

    Raises:
        UnknownBatchError: the server has none, or has forgotten it, or it is another's.
    """
    unknown = UnknownBatchError(f"there is no batch {batch}; see the runs in the Prefect UI")
    try:
        run = client.read_flow_run(batch)
    except ObjectNotFound as error:
        raise unknown from error
    if not set(owner_tags(owner)).issubset(run.tags):  # so nobody learns of what is not theirs
        raise unknown
    if "output" not in run.parameters or run.parent_task_run_id is not None:
        raise UnknownBatchError(f"{batch} is a flow run, but no batch")
    return run


def newest(
    client: SyncPrefectClient, offset: int, limit: int, owner: str | None = None
) -> list[FlowRun]:
    """Some batches, or some of one owner's, those first that were begun or are due last.

    Args:
        offset: how many to leave out.
        limit: how many at most: of PAGE and one more.
    """
    runs: list[FlowRun] = []
    while len(runs) < limit:
        page = client.read_flow_runs(
            flow_filter=of_flows(_FLOW),
            flow_run_filter=FlowRunFilter(tags=owned_by(owner)),
            sort=FlowRunSort.EXPECTED_START_TIME_DESC,
            offset=offset + len(runs),
            limit=min(PAGE, limit - len(runs)),
        )
        runs += page
        if not page:
            break
    return runs


def find_by_key(client: SyncPrefectClient, key: str) -> FlowRun | None:
    """The batch that was submitted with a key; None if there is none."""
    wanted = FlowRunFilter(idempotency_key=FlowRunFilterIdempotencyKey(any_=[key]))
    found = client.read_flow_runs(flow_run_filter=wanted, limit=1)
    return found[0] if found else None


def owned_by(owner: str | None) -> FlowRunFilterTags | None:
    """Select the runs that came through somebody's key; all for None."""
    return None if owner is None else FlowRunFilterTags(all_=owner_tags(owner))


def count_by_state(client: SyncPrefectClient, owner: str | None = None) -> dict[str, int]:
    """How many batches, or how many of one owner's, the server knows in each state."""
    counts = dict.fromkeys(_STATES.values(), 0)
    for kind, state in _STATES.items():
        counts[state] += client.count_flow_runs(
            flow_filter=of_flows(_FLOW),
            flow_run_filter=FlowRunFilter(state=in_states(kind), tags=owned_by(owner)),
        )
    return counts


def ended(client: SyncPrefectClient, some: Collection[UUID]) -> set[UUID]:
    """Those of some batches, of which there are PAGE at most, that have ended."""
    final = [kind for kind, state in _STATES.items() if state in FINAL]
    wanted = FlowRunFilter(id=FlowRunFilterId(any_=list(some)), state=in_states(*final))
    return {run.id for run in client.read_flow_runs(flow_run_filter=wanted)}


def status(client: SyncPrefectClient, batch: UUID, owner: str | None = None) -> Status:
    """How far a batch is; of a completed one the figures are those of its manifest.

    Where the manifest cannot be read from here, they are those that the run left at its end.

    Raises:
        UnknownBatchError: see `find`.
        StorageError, TransientError: neither is there.
    """
    run = find(client, batch, owner)
    state = state_of(run)
    snapshot = read_snapshots(client, [batch]).get(batch)
    counts = snapshot.counts if snapshot else Counts()
    total = snapshot.total if snapshot else None
    if state == "completed":
        try:
            # what was retried since counts as well
            counts = Output(run.parameters["output"]).totals()
        except (StorageError, TransientError):
            if snapshot is None:
                raise
        total = counts.members
    running = snapshot if snapshot and state == "running" else None
    return Status(
        id=batch,
        name=run.name,
        state=state,
        message=shown(run.state.message or "") if run.state else "",
        archive=shown(str(run.parameters.get("archive", ""))),
        output=str(run.parameters["output"]),
        project=project_of(run.tags),
        counts=counts,
        total=total,
        share=1.0 if state == "completed" else snapshot.share if snapshot else 0.0,
        images_per_second=running.images_per_second if running else 0.0,
        seconds_left=running.seconds_left if running else None,
    )


def follow(client: SyncPrefectClient, batch: UUID) -> Iterator[Status]:
    """Poll a batch every second, until it has ended."""
    while True:
        seen = status(client, batch)
        yield seen
        if seen.final:
            return
        time.sleep(_POLL_SECONDS)


def summary(client: SyncPrefectClient, batch: UUID) -> Summary:
    """The result of a completed batch, from the record at its output.

    Raises:
        StorageError, TransientError: the output cannot be read from here.
    """
    run = find(client, batch)
    output = Output(run.parameters["output"])
    seconds = run.total_run_time.total_seconds()
    return Summary.of(
        shown(str(run.parameters.get("archive", ""))),
        output.uri,
        output.totals(),
        None,
        seconds,
        output.notes(),
        blurred=output.is_blurred,
    )


def state_of(run: FlowRun) -> str:
    """How far a run is: queued, running, paused and so on, as of `Status`."""
    return _STATES[run.state.type] if run.state else "queued"


def absolute(uri: str) -> str:
    """A path as it is called from anywhere on this machine: the run starts in another folder."""
    location = resolve(uri)
    return location.path if location.is_local else uri

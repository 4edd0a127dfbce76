"""Flow runs that ended long ago, and what else the server keeps of them.

A Prefect server may have other flows that are called as ours are, `notify` above all. A run of a
deployment is Facecrop's if its deployment starts Facecrop's function; one that nobody deployed is
if it has the tag that a batch's run gives itself.

With a run the server itself deletes its task runs and states, and soon its logs; its artifacts it
would keep for ever. Events stay for as long as its own setting says.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    FlowRunFilter,
    FlowRunFilterEndTime,
    FlowRunFilterId,
    FlowRunFilterParentFlowRunId,
    FlowRunFilterParentTaskRunId,
    FlowRunFilterState,
)
from prefect.client.schemas.objects import TERMINAL_STATES, FlowRun, StateType
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.sorting import DeploymentSort, FlowRunSort
from prefect.exceptions import ObjectNotFound

from intake.control.filters import every, in_states, of_flows
from tasks.reporting.names import TAG

BATCH, SHARD, RETRY, RECROP = "crop-archive", "crop-shard", "retry-failed", "recrop"
INBOX = "watch-inbox"
FLOWS = (BATCH, RETRY, RECROP, INBOX, "preview", "notify", SHARD)
"""Whose runs are ours. Shards go with their batch; those left are of batches that are gone."""

_AT_ONCE = 50  # runs, the most that the server deletes with one request
_LARGE_AT_ONCE = 5  # of those with a task run a chunk: its database has seconds for one statement
_ARTIFACTS_AT_ONCE = 20  # one may hold a picture
_PATIENCE_SECONDS = 120.0
_INBOX_KEY = "inbox-"  # begins the keys by which the inbox remembers what it has started

_ENDED = in_states(*sorted(TERMINAL_STATES))
_UNFINISHED = in_states(*(one for one in StateType if one not in TERMINAL_STATES))


def old_runs(client: SyncPrefectClient, before: datetime, *, remove: bool) -> Counter[str]:
    """Count the runs that ended before a time, by flow, or remove them.

    Left out are batches with a shard that has not ended, and those that the inbox started and that
    did not complete: without such a run it would start its archive again.

    Args:
        before: with a time zone.
        remove: whether to remove them, and to count only those that are gone.
    """
    counts: Counter[str] = Counter()
    deployments = _deployments(client)
    for flow in FLOWS:
        passed = 0
        while page := _page(client, flow, before, passed):
            ours = [run for run in page if _is_ours(run, deployments)]
            runs = [run for run in _settled(client, ours) if not _remembers(run)]
            if flow == BATCH and runs:
                counts[SHARD] += _shards(client, runs, remove=remove)
            gone = _remove(client, runs) if remove else 0
            counts[flow] += gone if remove else len(runs)
            passed += len(page) - gone
    return counts


def unfinished(client: SyncPrefectClient) -> Iterator[FlowRun]:
    """The batches, and the retries and recrops of batches, that have not ended."""
    return _every(client, FlowRunFilter(state=_UNFINISHED), BATCH, RETRY, RECROP)


def batches(client: SyncPrefectClient) -> Iterator[FlowRun]:
    """Every batch that the server remembers, a page at a time."""
    return _every(client, FlowRunFilter(), BATCH)


def watched_inboxes(client: SyncPrefectClient) -> list[str]:
    """The folders and prefixes, each with a / at its end, whose archives are cropped unasked."""
    places = (str(one.parameters.get("inbox") or "") for one in _deployed(client, INBOX))
    return [place.rstrip("/") + "/" for place in places if place]


def _every(client: SyncPrefectClient, wanted: FlowRunFilter, *flows: str) -> Iterator[FlowRun]:
    read, order = client.read_flow_runs, FlowRunSort.ID_DESC
    return every(partial(read, flow_filter=of_flows(*flows), flow_run_filter=wanted, sort=order))


def _deployed(client: SyncPrefectClient, *flows: str) -> Iterator[DeploymentResponse]:
    read, order = client.read_deployments, DeploymentSort.NAME_ASC
    return every(partial(read, flow_filter=of_flows(*flows), sort=order))


def _deployments(client: SyncPrefectClient) -> dict[UUID, bool]:
    """Whether each deployment of a flow with a name of ours starts one of Facecrop's functions."""
    modules = [flow.replace("-", "_") for flow in FLOWS]
    functions = tuple(f".flows.{module}.{module}" for module in modules)

    def starts_one(entrypoint: str | None) -> bool:
        dotted = (entrypoint or "").replace(".py:", ".").replace(":", ".").replace("/", ".")
        return f".{dotted}".endswith(functions)

    return {one.id: starts_one(one.entrypoint) for one in _deployed(client, *FLOWS)}


def _is_ours(run: FlowRun, deployments: Mapping[UUID, bool]) -> bool:
    """Whether it is a run of Facecrop's own; a deployment that is gone tells nothing."""
    tagged = TAG in run.tags
    return deployments.get(run.deployment_id, tagged) if run.deployment_id else tagged


def _page(client: SyncPrefectClient, flow: str, before: datetime, passed: int) -> list[FlowRun]:
    wanted = FlowRunFilter(
        state=_ENDED,
        end_time=FlowRunFilterEndTime(before_=before),
        parent_task_run_id=FlowRunFilterParentTaskRunId(is_null_=True),
    )
    return client.read_flow_runs(
        flow_filter=of_flows(flow),
        flow_run_filter=wanted,
        sort=FlowRunSort.ID_DESC,
        limit=_LARGE_AT_ONCE if flow in (BATCH, RETRY, RECROP) else _AT_ONCE,
        offset=passed,
    )


def _settled(client: SyncPrefectClient, runs: Sequence[FlowRun]) -> list[FlowRun]:
    """Those all of whose shards have ended."""

    def at_work(some: Sequence[FlowRun]) -> int:
        return client.count_flow_runs(flow_run_filter=_children(some, _UNFINISHED))

    if not runs or not at_work(runs):
        return list(runs)
    return [run for run in runs if not at_work([run])]


def _remembers(run: FlowRun) -> bool:
    key = run.idempotency_key or ""
    return key.startswith(_INBOX_KEY) and run.state_type != StateType.COMPLETED


def _shards(client: SyncPrefectClient, runs: Sequence[FlowRun], *, remove: bool) -> int:
    ended = _children(runs, _ENDED)
    if not remove:
        return client.count_flow_runs(flow_run_filter=ended)
    gone = 0
    while some := client.read_flow_runs(flow_run_filter=ended, limit=_AT_ONCE):
        now = _remove(client, some)
        if not now:
            break
        gone += now
    return gone


def _remove(client: SyncPrefectClient, runs: Sequence[FlowRun]) -> int:
    """Remove at most `_AT_ONCE` runs, but for those that were started again meanwhile."""
    if not runs:
        return 0
    numbers = [run.id for run in runs]
    _remove_artifacts(client, numbers)
    wanted = FlowRunFilter(id=FlowRunFilterId(any_=numbers), state=_ENDED)
    answer = client.request(
        "POST",
        "/flow_runs/bulk_delete",  # type: ignore[arg-type] # no method of the client calls it
        json={
            "flow_runs": wanted.model_dump(mode="json", exclude_unset=True),
            "limit": _AT_ONCE,
        },
        timeout=_PATIENCE_SECONDS,
    )
    return len(answer.json()["deleted"])


def _remove_artifacts(client: SyncPrefectClient, runs: list[UUID]) -> None:
    wanted = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=runs))
    while found := client.read_artifacts(artifact_filter=wanted, limit=_ARTIFACTS_AT_ONCE):
        for artifact in found:
            with suppress(ObjectNotFound):  # somebody else removes them, too
                client.delete_artifact(artifact.id)


def _children(runs: Sequence[FlowRun], state: FlowRunFilterState) -> FlowRunFilter:
    parents = FlowRunFilterParentFlowRunId(any_=[run.id for run in runs])
    return FlowRunFilter(parent_flow_run_id=parents, state=state)

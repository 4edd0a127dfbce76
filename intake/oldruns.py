"""Flow runs that ended long ago, and what else the server keeps of them.

With a run the server itself deletes its task runs and states, and soon its logs; its artifacts it
would keep for ever. Events stay for as long as its own setting says.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterEndTime,
    FlowRunFilterId,
    FlowRunFilterParentFlowRunId,
    FlowRunFilterParentTaskRunId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import TERMINAL_STATES, FlowRun, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectNotFound

BATCH, SHARD, RETRY, INBOX = "crop-archive", "crop-shard", "retry-failed", "watch-inbox"
FLOWS = (BATCH, RETRY, INBOX, "notify", SHARD)
"""Whose runs are ours. Shards go with their batch; those left are of batches that are gone."""

_AT_ONCE = 50  # runs, the most that the server deletes with one request
_LARGE_AT_ONCE = 5  # of those with a task run a chunk: its database has seconds for one statement
_ARTIFACTS_AT_ONCE = 20  # one may hold a picture
_PAGE = 200
_PATIENCE_SECONDS = 120.0
_INBOX_KEY = "inbox-"  # begins the keys by which the inbox remembers what it has started

_ENDED = FlowRunFilterState(type=FlowRunFilterStateType(any_=sorted(TERMINAL_STATES)))
_UNFINISHED = FlowRunFilterState(
    type=FlowRunFilterStateType(any_=[one for one in StateType if one not in TERMINAL_STATES])
)


def old_runs(client: SyncPrefectClient, before: datetime, *, remove: bool) -> Counter[str]:
    """Counts the runs that ended before a time, by flow, or removes them.

    Left out are batches with a shard that has not ended, and those that the inbox started and that
    did not complete: without such a run it would start its archive again.

    Args:
        client: of the server.
        before: with a time zone.
        remove: whether to remove them, and to count only those that are gone.
    """
    counts: Counter[str] = Counter()
    for flow in FLOWS:
        passed = 0
        while page := _page(client, flow, before, passed):
            runs = [run for run in _settled(client, page) if not _remembers(run)]
            if flow == BATCH and runs:
                counts[SHARD] += _shards(client, runs, remove=remove)
            gone = _remove(client, runs) if remove else 0
            counts[flow] += gone if remove else len(runs)
            passed += len(page) - gone
    return counts


def unfinished(client: SyncPrefectClient) -> Iterator[FlowRun]:
    """The batches, and the retries of batches, that have not ended."""
    yield from _every(client, (BATCH, RETRY), FlowRunFilter(state=_UNFINISHED))


def batches(client: SyncPrefectClient) -> Iterator[FlowRun]:
    """Every batch that the server remembers, a page at a time."""
    yield from _every(client, (BATCH,), FlowRunFilter())


def watched_inboxes(client: SyncPrefectClient) -> list[str]:
    """The folders and prefixes, each with a / at its end, whose archives are cropped unasked."""
    found = client.read_deployments(flow_filter=_named([INBOX]), limit=_PAGE)
    places = (str(one.parameters.get("inbox") or "") for one in found)
    return [place.rstrip("/") + "/" for place in places if place]


def _every(
    client: SyncPrefectClient, flows: Sequence[str], wanted: FlowRunFilter
) -> Iterator[FlowRun]:
    passed = 0
    while page := client.read_flow_runs(
        flow_filter=_named(flows),
        flow_run_filter=wanted,
        sort=FlowRunSort.ID_DESC,
        limit=_PAGE,
        offset=passed,
    ):
        yield from page
        passed += len(page)


def _page(client: SyncPrefectClient, flow: str, before: datetime, passed: int) -> list[FlowRun]:
    wanted = FlowRunFilter(
        state=_ENDED,
        end_time=FlowRunFilterEndTime(before_=before),
        parent_task_run_id=FlowRunFilterParentTaskRunId(is_null_=True),
    )
    return client.read_flow_runs(
        flow_filter=_named([flow]),
        flow_run_filter=wanted,
        sort=FlowRunSort.ID_DESC,
        limit=_LARGE_AT_ONCE if flow in (BATCH, RETRY) else _AT_ONCE,
        offset=passed,
    )


def _settled(client: SyncPrefectClient, runs: Sequence[FlowRun]) -> list[FlowRun]:
    """Those all of whose shards have ended."""

    def at_work(some: Sequence[FlowRun]) -> int:
        return client.count_flow_runs(flow_run_filter=_children(some, _UNFINISHED))

    if not at_work(runs):
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
    """Removes at most `_AT_ONCE` runs, but for those that were started again meanwhile."""
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


def _named(flows: Sequence[str]) -> FlowFilter:
    return FlowFilter(name=FlowFilterName(any_=list(flows)))

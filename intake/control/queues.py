"""What waits, runs and has ended in each queue of Facecrop's work pools."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterEndTime,
    FlowRunFilterNextScheduledStartTime,
    FlowRunFilterState,
    FlowRunFilterStateName,
    Operator,
    WorkQueueFilter,
    WorkQueueFilterId,
    WorkQueueFilterName,
)
from prefect.client.schemas.objects import StateType, WorkPool
from prefect.client.schemas.sorting import FlowRunSort

from intake.control.batches import owned_by
from intake.control.filters import PAGE, in_states
from tasks.lifecycle.priority import queue_name

POOL_PREFIX = "facecrop-"


@dataclass(frozen=True, slots=True)
class Queue:
    """One work queue at one moment.

    Attributes:
        pool: name of its work pool.
        queue: its name.
        priority: 1 is first.
        paused: whether it, or its whole pool, hands out nothing.
        waiting: runs that are due and that no worker has taken.
        running: runs that a worker has taken.
        done: runs that completed in the time asked for.
        failed: runs that failed or crashed in it.
        late: those of `waiting` that Prefect calls late.
        oldest_wait_seconds: since the first of `waiting` was due; None where none waits.
    """

    pool: str
    queue: str
    priority: int
    paused: bool
    waiting: int = 0
    running: int = 0
    done: int = 0
    failed: int = 0
    late: int = 0
    oldest_wait_seconds: float | None = None


def pools(client: SyncPrefectClient) -> list[WorkPool]:
    """The work pools whose names begin with `facecrop-`, in their order."""
    found = client.read_work_pools(limit=PAGE)
    return sorted(
        (pool for pool in found if pool.name.startswith(POOL_PREFIX)), key=lambda pool: pool.name
    )


def due() -> FlowRunFilter:
    """Select the runs that a worker could take now: those scheduled, late or due for a retry."""
    return FlowRunFilter(
        state=in_states(StateType.SCHEDULED),
        next_scheduled_start_time=FlowRunFilterNextScheduledStartTime(before_=datetime.now(UTC)),
    )


# Requests: one for the pools; a pool, one for its queues and one for each of them, to leave out the
# empty; a queue that is shown, five counts and, where runs wait, one run. No other run is listed,
# so it costs the same however many there are.
def read_queues(client: SyncPrefectClient, hours: float, *, empty: bool) -> list[Queue]:
    """Read every queue of Facecrop's pools, by pool and priority.

    Args:
        hours: how far back `done` and `failed` reach.
        empty: whether to give queues, too, in which there is nothing to see.
    """
    ended, kinds = _ended(hours), _kinds(hours)
    open_states = in_states(StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING)
    # (validated, as mypy does not see the field `operator`)
    any_kind = FlowRunFilter.model_validate(
        {"operator": Operator.or_, "state": open_states, "end_time": ended}
    )
    found = []
    for pool in pools(client):
        queues = client.read_work_queues(work_pool_name=pool.name, limit=PAGE)
        for queue in sorted(queues, key=lambda queue: queue.priority):
            only = WorkQueueFilter(id=WorkQueueFilterId(any_=[queue.id]))
            seen = Queue(
                pool.name, queue.name, queue.priority, paused=pool.is_paused or queue.is_paused
            )
            if client.count_flow_runs(flow_run_filter=any_kind, work_queue_filter=only):
                seen = _counted(client, seen, kinds, only)
            if empty or _holds_any(seen):
                found.append(seen)
    return found


# Requests: one a kind of run, and of each kind of which there are any one a priority. So an owner
# costs the same however many batches there are.
def read_owned(client: SyncPrefectClient, owner: str, hours: float) -> list[Queue]:
    """The batches of an owner by priority, of all pools together; shards have no owner.

    `hours` is how far back `done` and `failed` reach.
    """
    tagged = {"tags": owned_by(owner)}
    kinds = {kind: runs.model_copy(update=tagged) for kind, runs in _kinds(hours).items()}
    there = {
        kind: runs for kind, runs in kinds.items() if client.count_flow_runs(flow_run_filter=runs)
    }
    found = []
    for priority in range(1, 11) if there else ():
        name = queue_name(priority)
        named = WorkQueueFilter(name=WorkQueueFilterName(any_=[name]))
        found.append(_counted(client, Queue("", name, priority, paused=False), there, named))
    return list(filter(_holds_any, found))


def _kinds(hours: float) -> Mapping[str, FlowRunFilter]:
    """The runs that a queue's counts are of, by the names of the counts."""
    ended = _ended(hours)
    return {
        "waiting": due(),
        "running": FlowRunFilter(state=in_states(StateType.PENDING, StateType.RUNNING)),
        "done": FlowRunFilter(state=in_states(StateType.COMPLETED), end_time=ended),
        "failed": FlowRunFilter(
            state=in_states(StateType.FAILED, StateType.CRASHED), end_time=ended
        ),
        "late": FlowRunFilter(state=FlowRunFilterState(name=FlowRunFilterStateName(any_=["Late"]))),
    }


def _ended(hours: float) -> FlowRunFilterEndTime:
    return FlowRunFilterEndTime(after_=datetime.now(UTC) - timedelta(hours=hours))


def _counted(
    client: SyncPrefectClient,
    queue: Queue,
    kinds: Mapping[str, FlowRunFilter],
    only: WorkQueueFilter,
) -> Queue:
    """The queue with its counts."""
    counts: dict[str, Any] = {
        kind: client.count_flow_runs(flow_run_filter=runs, work_queue_filter=only)
        for kind, runs in kinds.items()
    }
    wait = _oldest_wait(client, kinds["waiting"], only) if counts.get("waiting") else None
    return replace(queue, **counts, oldest_wait_seconds=wait)


def _holds_any(queue: Queue) -> bool:
    return any((queue.waiting, queue.running, queue.done, queue.failed))


def _oldest_wait(
    client: SyncPrefectClient, waiting: FlowRunFilter, queue: WorkQueueFilter
) -> float | None:
    """Seconds that the first of some waiting runs has waited; None if none is left."""
    first = client.read_flow_runs(
        flow_run_filter=waiting,
        work_queue_filter=queue,
        sort=FlowRunSort.NEXT_SCHEDULED_START_TIME_ASC,
        limit=1,
    )
    if not first or first[0].next_scheduled_start_time is None:
        return None
    waited = datetime.now(UTC) - first[0].next_scheduled_start_time
    return round(max(0.0, waited.total_seconds()), 1)

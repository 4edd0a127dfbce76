"""Priorities: the work queue of each, and how a batch's run is preempted by more urgent ones.

A worker hands out its slots by priority, but the run that plans a batch keeps its slot until the
batch ends: on a small pool an urgent batch would wait for a whole one that is not.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterNextScheduledStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
    WorkQueueFilter,
    WorkQueueFilterName,
)
from prefect.client.schemas.objects import StateType
from prefect.exceptions import Abort
from prefect.states import AwaitingRetry

from tasks.lifecycle.current import current_run
from tasks.lifecycle.server import is_away

_IDLE_WORKER = timedelta(seconds=20)  # polls every 15 seconds, so it would have taken them


def queue_name(priority: int) -> str:
    """The work queue for a priority from 1 to 10."""
    return f"priority-{priority}"


def preempt(client: SyncPrefectClient, priority: int) -> None:
    """Reschedules the current flow run where more urgent runs wait for its slot.

    Args:
        client: of the server.
        priority: of its batch, 1 (first) to 10.

    Raises:
        Abort: the run is scheduled again, and its process has to end.
    """
    run = current_run()
    # nobody can take the slot while the server is away
    if run.work_pool_name is None or priority == 1 or is_away():
        return
    urgent = client.count_flow_runs(
        flow_run_filter=FlowRunFilter(
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])),
            next_scheduled_start_time=FlowRunFilterNextScheduledStartTime(
                before_=datetime.now(UTC) - _IDLE_WORKER
            ),
        ),
        work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[run.work_pool_name])),
        work_queue_filter=WorkQueueFilter(
            name=WorkQueueFilterName(any_=[queue_name(one) for one in range(1, priority)])
        ),
    )
    if urgent:
        message = f"Preempted by {urgent} runs of a higher priority."
        client.set_flow_run_state(run.id, AwaitingRetry(message=message))
        raise Abort(message)

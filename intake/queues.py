"""`facecrop queues`: what waits, runs and has ended in each queue of Facecrop's work pools.

Also what the operators' commands share: a client that gives up in seconds, its errors as one line,
and tables.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from typing import TYPE_CHECKING, Any
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterEndTime,
    FlowRunFilterNextScheduledStartTime,
    FlowRunFilterState,
    FlowRunFilterStateName,
    FlowRunFilterStateType,
    Operator,
    WorkQueueFilter,
    WorkQueueFilterId,
)
from prefect.client.schemas.objects import StateType, WorkPool, WorkQueue
from prefect.client.schemas.sorting import FlowRunSort
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings
from rich.console import Console
from rich.table import Table
from rich.text import Text

from intake.exits import DONE, FAILED, complain, mask, plain

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

POOL_PREFIX = "facecrop-"
PAGE = 200  # rows: the most that the server hands out at a time
ANSWER_SECONDS = 10.0
_PATIENCE_SECONDS = 60.0  # a person would rather wait for a busy server than ask again
_WIDE = 250  # columns, where no terminal says how many it has


class ServerError(Exception):
    """The Prefect server cannot be asked; the message is one line."""


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
    waiting: int
    running: int
    done: int
    failed: int
    late: int
    oldest_wait_seconds: float | None


def api_url() -> str:
    """The address of the Prefect server, from the environment or Prefect's profile.

    Raises:
        ServerError: there is none.
    """
    url: str | None = PREFECT_API_URL.value()
    if not url:
        raise ServerError(
            "PREFECT_API_URL is not set; set it to the API of a Prefect server, such as "
            "http://127.0.0.1:4200/api"
        )
    return url


@contextmanager
def server(patience: float = _PATIENCE_SECONDS) -> Iterator[SyncPrefectClient]:
    """The Prefect server of PREFECT_API_URL, asked once.

    Args:
        patience: seconds that a server which is there may take to answer.

    Raises:
        ServerError: PREFECT_API_URL is not set, so that Prefect would start a server of its own.
    """
    api_url()
    timeout = httpx.Timeout(patience, connect=ANSWER_SECONDS)
    with (
        temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}),
        get_client(httpx_settings={"timeout": timeout}, sync_client=True) as client,
    ):
        yield client


def explain_server(error: Exception) -> str:
    """One line for whatever goes wrong between this machine and the Prefect server."""
    if isinstance(error, ServerError):
        return str(error)
    url = mask(PREFECT_API_URL.value() or "")
    status = error.response.status_code if isinstance(error, httpx.HTTPStatusError) else None
    if status == 404 or isinstance(error, ValueError):
        return (
            f"what answers at {url} does not answer as Prefect {version('prefect')} does; "
            "correct PREFECT_API_URL, which ends in /api, or install the server's version"
        )
    if status is not None:
        if status in (401, 403):
            return (
                f"the Prefect server at {url} refuses with {status}; "
                "set PREFECT_API_AUTH_STRING (or PREFECT_API_KEY) to what it asks for"
            )
        return f"the Prefect server at {url} answers {status}; see its log"
    if isinstance(error, httpx.ReadTimeout | httpx.WriteTimeout | httpx.PoolTimeout):
        return f"the Prefect server at {url} is too busy to answer in time; try again"
    if isinstance(error, httpx.TransportError | httpx.InvalidURL):
        return f"no Prefect server answers at {url}; start it, or correct PREFECT_API_URL"
    return mask(f"{type(error).__name__}: {' '.join(str(error).split())}")


def answer(
    ask: Callable[[SyncPrefectClient], Sequence[DataclassInstance]],
    columns: dict[str, Callable[[Any], str]],
    *,
    as_json: bool,
    nothing: str,
) -> int:
    """Asks the server, prints what it says, and returns the exit code.

    Args:
        ask: gives the rows.
        columns: heading of each column and what it shows of a row.
        as_json: one JSON object a row instead of a table.
        nothing: printed instead of a table without rows.
    """
    try:
        with server() as client:
            rows = ask(client)
    except Exception as error:  # noqa: BLE001 - whatever it is, a person gets one line
        message = explain_server(error)
        complain(message)
        if as_json:
            print(json.dumps({"error": message}), flush=True)
        return FAILED
    if as_json:
        for row in rows:
            print(json.dumps(asdict(row)), flush=True)
        return DONE
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in columns:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*(Text(plain(show(row))) for show in columns.values()))
    console().print(table if rows else Text(nothing))
    return DONE


def console() -> Console:
    """Standard output, without line breaks of its own where it is no terminal."""
    return Console(width=None if sys.stdout.isatty() else _WIDE, highlight=False)


def pools(client: SyncPrefectClient) -> list[WorkPool]:
    """The work pools whose names begin with `facecrop-`, in their order."""
    found = client.read_work_pools(limit=PAGE)
    return sorted(
        (pool for pool in found if pool.name.startswith(POOL_PREFIX)), key=lambda pool: pool.name
    )


def due() -> FlowRunFilter:
    """Selects the runs that a worker could take now: those scheduled, late or due for a retry."""
    return FlowRunFilter(
        state=_types(StateType.SCHEDULED),
        next_scheduled_start_time=FlowRunFilterNextScheduledStartTime(before_=datetime.now(UTC)),
    )


# Requests: one for the pools; a pool, one for its queues and one for each of them, to leave out the
# empty; a queue that is shown, five counts and, where runs wait, one run. No other run is listed,
# so it costs the same however many there are.
def read_queues(client: SyncPrefectClient, hours: float, *, empty: bool) -> list[Queue]:
    """Looks at every queue of Facecrop's pools, by pool and priority.

    Args:
        client: of the server.
        hours: how far back `done` and `failed` look.
        empty: whether to give queues, too, in which there is nothing to see.
    """
    since = datetime.now(UTC) - timedelta(hours=hours)
    found = []
    for pool in pools(client):
        queues = client.read_work_queues(work_pool_name=pool.name, limit=PAGE)
        for queue in sorted(queues, key=lambda queue: queue.priority):
            seen = _look(client, pool, queue, since)
            if empty or seen.waiting or seen.running or seen.done or seen.failed:
                found.append(seen)
    return found


def show_queues(hours: float, *, empty: bool, as_json: bool) -> int:
    """Prints the queues and returns the exit code."""
    return answer(
        lambda client: read_queues(client, hours, empty=empty),
        {
            "pool": lambda row: row.pool,
            "queue": lambda row: row.queue + (" (paused)" if row.paused else ""),
            "waiting": lambda row: f"{row.waiting:,}",
            "running": lambda row: f"{row.running:,}",
            "done": lambda row: f"{row.done:,}",
            "failed": lambda row: f"{row.failed:,}",
            "late": lambda row: f"{row.late:,}",
            "oldest wait": lambda row: (
                "" if row.oldest_wait_seconds is None else f"{row.oldest_wait_seconds:,.0f} s"
            ),
        },
        as_json=as_json,
        nothing=f"nothing waits or runs, and nothing has ended in {hours:g} hours "
        "(--all shows the empty queues)",
    )


def _look(client: SyncPrefectClient, pool: WorkPool, queue: WorkQueue, since: datetime) -> Queue:
    ended = FlowRunFilterEndTime(after_=since)
    open_states = _types(StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING)
    # (validated, as mypy does not see the field `operator`)
    either = FlowRunFilter.model_validate(
        {"operator": Operator.or_, "state": open_states, "end_time": ended}
    )
    waiting = running = done = failed = late = 0
    if _count(client, queue.id, either):
        waiting = _count(client, queue.id, due())
        running = _count(
            client, queue.id, FlowRunFilter(state=_types(StateType.PENDING, StateType.RUNNING))
        )
        done = _count(
            client, queue.id, FlowRunFilter(state=_types(StateType.COMPLETED), end_time=ended)
        )
        failed = _count(
            client,
            queue.id,
            FlowRunFilter(state=_types(StateType.FAILED, StateType.CRASHED), end_time=ended),
        )
        late = _count(
            client,
            queue.id,
            FlowRunFilter(state=FlowRunFilterState(name=FlowRunFilterStateName(any_=["Late"]))),
        )
    return Queue(
        pool.name,
        queue.name,
        queue.priority,
        pool.is_paused or queue.is_paused,
        waiting,
        running,
        done,
        failed,
        late,
        _oldest_wait(client, queue.id) if waiting else None,
    )


def _count(client: SyncPrefectClient, queue: UUID, runs: FlowRunFilter) -> int:
    return client.count_flow_runs(flow_run_filter=runs, work_queue_filter=_only(queue))


def _oldest_wait(client: SyncPrefectClient, queue: UUID) -> float | None:
    """Seconds; None if the last waiting run has been taken meanwhile."""
    first = client.read_flow_runs(
        flow_run_filter=due(),
        work_queue_filter=_only(queue),
        sort=FlowRunSort.NEXT_SCHEDULED_START_TIME_ASC,
        limit=1,
    )
    if not first or first[0].next_scheduled_start_time is None:
        return None
    waited = datetime.now(UTC) - first[0].next_scheduled_start_time
    return round(max(0.0, waited.total_seconds()), 1)


def _only(queue: UUID) -> WorkQueueFilter:
    return WorkQueueFilter(id=WorkQueueFilterId(any_=[queue]))


def _types(*types: StateType) -> FlowRunFilterState:
    return FlowRunFilterState(type=FlowRunFilterStateType(any_=list(types)))

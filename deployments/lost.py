"""Runs of a pool that nobody works on, and of which no automation hears.

The automations of `deployments/automations.py` wait for events, and an event is lost where its
server, its process or Redis dies with it. So each worker asks as well, with every heartbeat.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterEndTime,
    FlowRunFilterStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.events import emit_event
from prefect.events.filters import (
    EventFilter,
    EventNameFilter,
    EventOccurredFilter,
    EventResourceFilter,
)
from prefect.states import AwaitingRetry, Crashed

from deployments.automations import HEARTBEAT, RESUMES, SILENCE, START

_LATER = timedelta(minutes=1)  # the automation is first
_SILENT = timedelta(minutes=10)  # what Redis lost is handed out again after six (decision 9)
_FORGOTTEN = timedelta(hours=1)  # who lets a crashed batch be for so long does not wait for it
_PROBE = "facecrop.worker.probe"


class LostRuns:
    """Those of one work pool.

    Args:
        pool: its name.
    """

    def __init__(self, client: PrefectClient, pool: str, logger: logging.Logger | Any) -> None:
        self._client = client
        self._logger = logger
        self._pool = WorkPoolFilter(name=WorkPoolFilterName(any_=[pool]))
        self._probe = ""  # the resource of the event that is to arrive
        self._probed = datetime.min.replace(tzinfo=UTC)
        self._silent: set[UUID] = set()  # runs, when the probe was sent

    async def find(self) -> None:
        """Look once, and set right what is found."""
        await self._reschedule_unstarted()
        await self._resume_crashed()
        await self._crash_silent()

    async def _reschedule_unstarted(self) -> None:
        """Schedule runs again that a worker took and never started."""
        for run in await self._in_state(StateType.PENDING):
            if _age(run) > START + _LATER:
                await self._schedule_again(run, "It was taken and never started.")

    async def _resume_crashed(self) -> None:
        """Schedule batches again that have crashed."""
        crashed = await self._in_state(
            StateType.CRASHED,
            FlowRunFilter(end_time=FlowRunFilterEndTime(after_=datetime.now(UTC) - _FORGOTTEN)),
            FlowFilter(name=FlowFilterName(any_=["crop-archive"])),
        )
        left = [run for run in crashed if _age(run) > _LATER]
        if left and await self._is_on(RESUMES):
            for run in left:
                await self._schedule_again(run, "It crashed, and nothing resumed it.")

    async def _crash_silent(self) -> None:
        """Mark runs Crashed that are said to be running, and are not heard of any more.

        Heartbeats may only be late. So an event of this worker's own is sent after them, and a
        run has crashed if that one has arrived and none of its own has.
        """
        before = datetime.now(UTC) - _SILENT
        running = await self._in_state(
            StateType.RUNNING, FlowRunFilter(start_time=FlowRunFilterStartTime(before_=before))
        )
        running = [run for run in running if _age(run) > _SILENT]
        silent = await self._unheard(running, before) if running else []
        if not silent or not await self._is_on(SILENCE):
            self._silent = set()
            return
        if await self._has_arrived():
            for run in silent:
                if run.id in self._silent:
                    minutes = int(_SILENT.total_seconds()) // 60
                    why = f"No heartbeat for {minutes} minutes: its process or machine died."
                    after: State[Any] = Crashed(message=why)
                    await self._client.set_flow_run_state(run.id, after, force=True)
                    self._logger.warning("%s has crashed: %s", run.name, why)
            self._silent = set()
        if not self._silent or datetime.now(UTC) - self._probed > _SILENT:  # it may be lost, too
            self._send_probe()
            self._silent = {run.id for run in silent}

    async def _unheard(self, runs: Sequence[FlowRun], since: datetime) -> list[FlowRun]:
        """Those of some runs of which no heartbeat is on record."""
        names = {f"prefect.flow-run.{run.id}": run for run in runs}
        wanted = EventFilter(
            occurred=EventOccurredFilter(since=since),
            event=EventNameFilter(name=[HEARTBEAT]),
            resource=EventResourceFilter(id=[*names]),
        )
        answer = await self._client.request(
            "POST",
            "/events/count-by/{countable}",
            path_params={"countable": "resource"},
            json={"filter": wanted.model_dump(mode="json")},
        )
        heard = {count["value"] for count in answer.json()}
        return [run for name, run in names.items() if name not in heard]

    def _send_probe(self) -> None:
        self._probe = f"facecrop.worker.{uuid4()}"
        self._probed = datetime.now(UTC)
        emit_event(_PROBE, resource={"prefect.resource.id": self._probe})

    async def _has_arrived(self) -> bool:
        """Whether the last probe is on record."""
        if not self._silent:
            return False
        wanted = EventFilter(resource=EventResourceFilter(id=[self._probe]))
        page = await self._client.read_events(wanted, limit=1)
        return bool(page.events)

    async def _in_state(
        self, state: StateType, runs: FlowRunFilter | None = None, flows: FlowFilter | None = None
    ) -> list[FlowRun]:
        runs = runs or FlowRunFilter()
        runs.state = FlowRunFilterState(type=FlowRunFilterStateType(any_=[state]))
        return await self._client.read_flow_runs(
            work_pool_filter=self._pool, flow_filter=flows, flow_run_filter=runs
        )

    async def _is_on(self, automation: str) -> bool:
        """Whether the automation is wanted: what an operator has switched off, no worker does."""
        found = await self._client.read_automations_by_name(automation)
        return any(one.enabled for one in found)

    async def _schedule_again(self, run: FlowRun, why: str) -> None:
        after: State[Any] = AwaitingRetry(message=why)
        await self._client.set_flow_run_state(run.id, after, force=True)
        self._logger.warning("%s is due again: %s", run.name, why)


def _age(run: FlowRun) -> timedelta:
    """How long a run has been in its state."""
    return datetime.now(UTC) - run.state.timestamp if run.state else timedelta(0)

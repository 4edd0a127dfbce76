"""A process worker that forks its runs, and reschedules them when it is stopped.

Prefect's own, told to stop, kills the processes of its runs and leaves these `Running`: a batch
would wait until the silence is noticed. This one schedules them again, so that the next worker
takes them within seconds; what was in flight is done again, which chunks allow anywhere.

Where the system can, its runs are forked from a process that has imported all they need.

`prefect worker start --pool facecrop-process` finds it by the pool's type, through the entry point
`prefect.collections`.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import anyio
import anyio.abc
import httpx
from prefect.client.schemas.objects import FlowRun, State
from prefect.client.schemas.responses import WorkerFlowRunResponse
from prefect.exceptions import Pause
from prefect.settings import (
    PREFECT_WORKER_ENABLE_CANCELLATION,
    get_current_settings,
    temporary_settings,
)
from prefect.states import AwaitingRetry, Cancelled
from prefect.utilities.processutils import command_to_string
from prefect.workers.process import (
    ProcessJobConfiguration,
    ProcessVariables,
    ProcessWorker,
    ProcessWorkerResult,
)
from pydantic import Field, PrivateAttr

from deployments.due import runs_due
from deployments.lost import LostRuns
from deployments.warm.runs import COLD, WarmRuns, warm_runs

_RESCHEDULE_SECONDS = 20  # of a container's grace time, should the server not answer at once


class FacecropJob(ProcessJobConfiguration):
    """A run as a process of its own, without the one that Prefect puts before it.

    That one looks for the flow's code, which is installed here, and takes seconds to start.
    """

    warm: bool = True
    _plain: bool = PrivateAttr(default=False)

    def prepare_for_flow_run(self, *given: Any, **named: Any) -> None:
        """Complete the configuration for a run."""
        if self.command is None:
            self.command = command_to_string([*COLD])
            self._plain = True
        super().prepare_for_flow_run(*given, **named)


class FacecropVariables(ProcessVariables):
    """What a pool or a deployment may say about the processes of its runs."""

    warm: bool = Field(
        default=True,
        description=(
            "Fork each run from a process of the worker's that has imported all it needs. A worker "
            "has to be restarted when Facecrop has been updated. Without, each run starts anew."
        ),
    )


class FacecropWorker(ProcessWorker):
    """Runs each flow run in a process of its own, as Prefect's process worker does."""

    type = "facecrop-process"
    job_configuration = FacecropJob
    job_configuration_variables = FacecropVariables  # type: ignore[assignment]  # Prefect's has no type
    _display_name = "Facecrop process"
    _description = "Runs flow runs as processes, and reschedules them when it is stopped."

    _lost: LostRuns | None = None
    _warm: WarmRuns | None = None
    _listener: asyncio.Task[None] | None = None

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._one_poll = asyncio.Lock()
        self._next_poll = asyncio.Lock()  # held by the one that waits for its turn

    async def setup(self) -> None:
        """Get ready to run."""
        # Prefect's own sends itself a SIGINT, which a script's `&` has a process ignore.
        if sys.platform != "win32":
            _cancel_at_sigterm()
        await super().setup()

    async def teardown(self, *exc_info: Any) -> None:
        """Have all runs end, and then the servers that they are forked from."""
        if self._listener is not None:
            self._listener.cancel()
        try:
            await super().teardown(*exc_info)
        finally:
            if self._warm is not None:
                self._warm.close()

    async def sync_with_backend(self) -> None:
        """Sync as Prefect's worker does, and find runs that nobody works on."""
        # Without it a run that is cancelled while its process starts stays Cancelling: whoever
        # watches a run for that begins with its process.
        with temporary_settings({PREFECT_WORKER_ENABLE_CANCELLATION: True}):
            await super().sync_with_backend()
        if self._lost is None and self._work_pool is not None:
            self._lost = LostRuns(self.client, self._work_pool.name, self._logger)
        if self._lost is not None:
            await self._lost.find()
        self._warm_up()
        self._listen()

    async def run(
        self,
        flow_run: FlowRun,
        configuration: ProcessJobConfiguration,
        task_status: anyio.abc.TaskStatus[int] | None = None,
    ) -> ProcessWorkerResult:
        """Run a flow run to its end, or until the worker is stopped."""
        assert isinstance(configuration, FacecropJob)
        if self._warm is not None and configuration.warm and configuration._plain:
            environment = _of_runs(configuration.env)
            configuration.command, besides = self._warm.command(environment)
            configuration.env.update(besides)
        try:
            return await super().run(flow_run, configuration, task_status)
        except anyio.get_cancelled_exc_class():  # the process has been killed by now
            with anyio.move_on_after(_RESCHEDULE_SECONDS, shield=True):
                await self._reschedule(flow_run)
            raise

    async def get_and_submit_flow_runs(self) -> list[FlowRun]:
        """Poll once. Never twice at a time, or both would be given the same runs."""
        if self._next_poll.locked():
            return []  # another one waits for its turn, and will see what this one would
        async with self._next_poll:
            await self._one_poll.acquire()
        try:
            return await super().get_and_submit_flow_runs()
        finally:
            self._one_poll.release()

    async def _get_scheduled_flow_runs(self) -> list[WorkerFlowRunResponse]:
        """Read as many runs as there are free slots.

        Prefect's own reads 200 each time: where a thousand small batches are queued, that is more
        work than to crop one.
        """
        wanted: dict[str, Any] = {}
        if self._limiter is not None:
            wanted["limit"] = int(self._limiter.available_tokens)
            if not wanted["limit"]:
                return []
        if self._work_queues:
            wanted["work_queue_names"] = [*self._work_queues]
        before = datetime.now(UTC) + timedelta(seconds=int(self._prefetch_seconds))
        try:
            answer = await self.client.request(
                "POST",
                "/work_pools/{name}/get_scheduled_flow_runs",
                path_params={"name": self._work_pool_name},
                json=wanted | {"scheduled_before": before.isoformat()},
            )
        except httpx.HTTPStatusError as error:
            if error.response.status_code != httpx.codes.NOT_FOUND:
                raise
            return []  # there is no such pool yet
        return WorkerFlowRunResponse.model_validate_list(answer.json())

    def _release_limit_slot(self, flow_run_id: UUID) -> None:
        super()._release_limit_slot(flow_run_id)
        self._poll_soon()

    def _listen(self) -> None:
        """Poll whenever the server says that a run is due."""
        if self._work_pool is not None and (self._listener is None or self._listener.done()):
            self._listener = asyncio.create_task(self._poll_when_due(self._work_pool.id))

    async def _poll_when_due(self, pool: UUID) -> None:
        try:
            async for _ in runs_due(pool):
                self._poll_soon()
        except Exception as error:  # noqa: BLE001 - of many types; polls and the next sync remain
            self._logger.debug("Not told of runs that are due: %r", error)

    def _poll_soon(self) -> None:
        if self.is_setup and self._runs_task_group is not None:
            self._runs_task_group.start_soon(self._poll_early)

    async def _poll_early(self) -> None:
        """Take the next run at once: small batches would wait for a poll each."""
        with suppress(httpx.HTTPError):  # the next poll says it
            await self.get_and_submit_flow_runs()

    # Suspended at the very moment that it is taken, a run would end Prefect's own worker.

    async def _propose_pending_state(self, flow_run: FlowRun) -> bool:
        try:
            return await super()._propose_pending_state(flow_run)
        except Pause:
            return False

    async def _propose_submitting_state(self, flow_run: FlowRun) -> None:
        with suppress(Pause):
            await super()._propose_submitting_state(flow_run)

    def _warm_up(self) -> None:
        """Start the servers that runs are forked from, once the pool says how runs are started."""
        if self._warm is None and self._work_pool is not None:
            variables = self._work_pool.base_job_template["variables"]["properties"]
            if variables.get("warm", {}).get("default", True):
                self._warm = warm_runs(_of_runs(variables.get("env", {}).get("default") or {}))

    async def _reschedule(self, flow_run: FlowRun) -> None:
        logger = self.get_flow_run_logger(flow_run)
        try:
            state = (await self.client.read_flow_run(flow_run.id)).state
            if state is None or state.is_final():
                return
            message = f"Worker {self.name} was stopped."
            next_state = Cancelled if state.is_cancelling() else AwaitingRetry
            after: State[Any] = next_state(message=message)
            await self.client.set_flow_run_state(flow_run.id, after, force=True)
        except httpx.HTTPError as error:  # then its silence will be noticed
            logger.warning("%s could not be rescheduled: %s", flow_run.name, error)
        else:
            logger.info("%s The run is %s.", message, after.name)


def _of_runs(variables: Mapping[str, str | None]) -> dict[str, str]:
    """The environment that Prefect's worker gives a run with these variables."""
    settings = get_current_settings().to_environment_variables(exclude_unset=True)
    every = {**os.environ, **variables, **settings}
    return {name: value for name, value in every.items() if value is not None}


def _cancel_at_sigterm() -> None:
    """Has the first SIGTERM cancel the current task, and the second one end the process."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None

    def cancel() -> None:
        loop.remove_signal_handler(signal.SIGTERM)
        task.cancel()

    loop.add_signal_handler(signal.SIGTERM, cancel)

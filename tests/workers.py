"""Real workers on real Prefect servers, and the runs that they work on."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterParentFlowRunId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import TERMINAL_STATES, Artifact, FlowRun, State, StateType
from prefect.deployments import run_deployment
from prefect.settings import PREFECT_API_SSL_CERT_FILE, PREFECT_API_URL, temporary_settings

from infra.servers.process import Process, descendants
from infra.servers.stack import Stack, prefect_stack
from tasks.lifecycle.priority import queue_name
from tests import warm

Worker = Process
StartWorker = Callable[[str], Worker]


@contextmanager
def process_workers(
    environment: Mapping[str, str], folder: Path, limit: int = 1
) -> Iterator[StartWorker]:
    """Give what starts a worker by a name, with its log in a folder; end all that it started.

    Runs that other tests have left undone are removed first: a worker would take them.
    """
    remove_unended_runs()
    started: list[Worker] = []

    def start(name: str) -> Worker:
        words = ["prefect", "worker", "start", "--name", name]
        words += ["--pool", "facecrop-process", "--limit", str(limit)]
        asks_often = {"PREFECT_WORKER_QUERY_SECONDS": "2"}
        with (folder / f"{name}.log").open("wb") as log:
            log_fd = log.fileno()
            worker = warm.start(words, {**os.environ, **environment, **asks_often}, log_fd, log_fd)
        started.append(worker)
        return worker

    try:
        yield start
    finally:
        for worker in started:
            if worker.poll() is None:
                worker.send_signal(signal.SIGTERM)
        for worker in started:
            try:
                worker.wait(40)
            except subprocess.TimeoutExpired:
                os.killpg(worker.pid, signal.SIGKILL)
                worker.wait()


@contextmanager
def production(rows: Path, folder: Path) -> Iterator[tuple[Stack, StartWorker]]:
    """Run Prefect as in production for this process and workers.

    Args:
        rows: what its database holds at first.
        folder: for the workers' logs.
    """
    with (
        prefect_stack(rows) as stack,
        temporary_settings(
            {
                PREFECT_API_URL: stack.environment["PREFECT_API_URL"],
                PREFECT_API_SSL_CERT_FILE: stack.environment["PREFECT_API_SSL_CERT_FILE"],
            }
        ),
        pytest.MonkeyPatch.context() as patch,
        process_workers(stack.environment, folder) as start_worker,
    ):
        for name, value in stack.environment.items():
            patch.setenv(name, value)
        yield stack, start_worker


def remove_unended_runs() -> None:
    """Remove what other tests have left to be run, and what has crashed: a worker resumes that."""
    ended = TERMINAL_STATES - {StateType.CRASHED}
    undone = FlowRunFilterStateType(any_=[one for one in StateType if one not in ended])
    wanted = FlowRunFilter(state=FlowRunFilterState(type=undone))
    client = this_client()
    while runs := client.read_flow_runs(flow_run_filter=wanted):
        for run in runs:
            client.delete_flow_run(run.id)


def at_work(worker: Worker) -> list[int]:
    """The processes of a worker's runs: all that it has started, but the servers that fork them."""
    return [pid for pid in descendants(worker.pid) if not _is_fork_server(pid)]


def _is_fork_server(pid: int) -> bool:
    place = Path(f"/proc/{pid}")
    try:
        command, name = (place / "cmdline").read_bytes(), (place / "comm").read_text()
    except OSError:  # it has ended
        return False
    servers = (b"deployments.warm.server", b"detection.sandbox.forkserver")
    # those that they fork have their command, and a name of their own
    return any(one in command for one in servers) and not name.startswith("facecrop-")


def kill(worker: Worker) -> None:
    """Kill a worker with the runs that it has started, as if its machine had died.

    All are stopped first: of processes that run, proc(5) may leave out children.
    """
    found: set[int] = set()
    while new := {worker.pid, *descendants(worker.pid)} - found:
        found |= new
        for process in new:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGSTOP)
    for process in found:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    worker.wait()


def submit(archive: str, output: str, settings: Mapping[str, Any], *, priority: int = 5) -> FlowRun:
    """Start a batch on the process pool."""
    run = run_deployment(
        "crop-archive/process",
        parameters={
            "archive": archive,
            "output": output,
            "settings": settings,
            "priority": priority,
        },
        work_queue_name=queue_name(priority),
        timeout=0,
    )
    assert isinstance(run, FlowRun)
    return run


def this_client() -> SyncPrefectClient:
    """A client of the server that this process uses.

    To make one costs twenty times as much as to ask it something, and tests ask until it is so.
    """
    return _client_of(str(PREFECT_API_URL.value()))


@cache
def _client_of(url: str) -> SyncPrefectClient:
    return SyncPrefectClient(url).__enter__()


def look(run: UUID) -> FlowRun:
    """A run as the server has it now."""
    return this_client().read_flow_run(run)


def state(run: UUID) -> State[Any]:
    """A run's state now."""
    found = look(run).state
    assert found is not None
    return found


def states(run: UUID) -> list[str]:
    """Names of the states that a run has been in, oldest first."""
    found = this_client().read_flow_run_states(run)
    return [str(one.name) for one in sorted(found, key=lambda one: one.timestamp)]


def shards_of(run: UUID) -> list[FlowRun]:
    """The runs of a batch's shards."""
    children = FlowRunFilter(parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[run]))
    return this_client().read_flow_runs(flow_run_filter=children)


def artifacts_of(run: UUID) -> list[Artifact]:
    """What a run shows on its page."""
    mine = FlowRunFilter(id=FlowRunFilterId(any_=[run]))
    return this_client().read_artifacts(flow_run_filter=mine)


def taken_by(run: FlowRun) -> str:
    """The name of the worker that took a run."""
    return str(run.labels.get("prefect.worker.name"))


def wait_for_end(run: UUID, seconds: float = 240) -> None:
    """Wait until a batch's run has ended. One that has crashed is soon scheduled again.

    Raises:
        AssertionError: it has not in time; the message tells how it and its shards are.
    """
    for pause in pauses(seconds):
        if (now := state(run)).is_final() and not now.is_crashed():
            return
        if not pause:
            found = this_client().read_flow_run_states(run)
            told = [f"{one.timestamp:%H:%M:%S} {one.name}: {one.message}" for one in found]
            told += [f"shard: {one.name}: {one.state!r}" for one in shards_of(run)]
            raise AssertionError("\n".join(["It has not ended.", *told]))
        time.sleep(pause)


def wait(what: Callable[[], bool], seconds: float = 240, *, each: float = 0) -> None:
    """Wait until it is so, and look each so many seconds, or ever less often.

    Raises:
        AssertionError: it was not so in time.
    """
    for pause in pauses(seconds):
        if what():
            return
        assert pause, "it took too long"
        time.sleep(each or pause)


def pauses(seconds: float) -> Iterator[float]:
    """Seconds to the next look, a twentieth of those that have gone by; 0 when all have.

    To ask a Prefect server twice costs it 20 ms of CPU, which the runs that are waited for want.
    """
    began = time.monotonic()
    while (waited := time.monotonic() - began) < seconds:
        yield min(2.0, max(0.2, waited / 20))
    yield 0

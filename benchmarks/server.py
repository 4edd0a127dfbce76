"""A Prefect server of one's own, and its workers: processes, with a home that is thrown away."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from uuid import UUID

from benchmarks.process import cpu_seconds

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

POOL = "facecrop-process"

_START_SECONDS = 180
_STOP_SECONDS = 40
_LOOK_SECONDS = 2.0
_HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Server:
    """A running Prefect server.

    Attributes:
        pid: of its one process.
        url: of its API.
    """

    pid: int
    url: str

    def cpu_seconds(self) -> float | None:
        """CPU that it has used since it started; None where the system has no /proc."""
        return cpu_seconds(self.pid)


@contextmanager
def prefect_server(**settings: str) -> Iterator[Server]:
    """Runs a server and points this process at it.

    Prefect reads where its server is when it is first imported, so that has to happen inside.

    Args:
        settings: environment variables of the server alone.

    Raises:
        RuntimeError: the server does not start; the message has the end of its log.
    """
    with TemporaryDirectory(ignore_cleanup_errors=True) as home:
        port = free_port()
        url = f"http://{_HOST}:{port}/api"
        # Nothing of the caller's own Prefect: neither its server nor its database nor its key.
        for name in [name for name in os.environ if name.startswith("PREFECT_")]:
            del os.environ[name]
        os.environ["PREFECT_HOME"] = home
        os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"
        command = [sys.executable, "-m", "prefect", "server", "start", "--no-ui"]
        log = Path(home) / "server.log"
        with log.open("wb") as sink:
            process = subprocess.Popen(
                [*command, "--host", _HOST, "--port", str(port)],
                env=os.environ | settings,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
            )
        try:
            _wait_until_ready(process, url, log)
            os.environ["PREFECT_API_URL"] = url
            try:
                yield Server(process.pid, url)
            finally:
                drain()
        finally:
            _end(process)


def register() -> None:
    """Registers Facecrop's pools and deployments on the server.

    Raises:
        RuntimeError: it does not work; the message says why.
    """
    done = subprocess.run(
        [sys.executable, "-m", "deployments"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"`python -m deployments` failed:\n{done.stdout}{done.stderr}")


@contextmanager
def process_worker(name: str) -> Iterator[int]:
    """Runs a worker with one slot, and gives its process id once the server knows it.

    Raises:
        RuntimeError: it does not start; the message has the end of its log.
    """
    log = Path(os.environ["PREFECT_HOME"]) / f"{name}.log"
    command = [sys.executable, "-m", "prefect", "worker", "start", "--name", name]
    with log.open("wb") as sink:
        process = subprocess.Popen(
            [*command, "--pool", POOL, "--limit", "1"],
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
        )
    try:
        _wait_until_online(process, name, log)
        yield process.pid
    finally:
        _end(process)


def submit(deployment: str, parameters: Mapping[str, Any], **variables: str) -> UUID:
    """Has a deployment run, with some job variables; gives the flow run's id at once."""
    from prefect.client.schemas.objects import FlowRun
    from prefect.deployments import run_deployment

    run = run_deployment(
        deployment, parameters=dict(parameters), job_variables=dict(variables), timeout=0
    )
    assert isinstance(run, FlowRun)
    return run.id


def ended(runs: Sequence[UUID]) -> list[FlowRun]:
    """Waits until flow runs have ended, and gives them.

    Raises:
        RuntimeError: one has not completed; the message says how it ended.
    """
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

    wanted = FlowRunFilter(id=FlowRunFilterId(any_=list(runs)))
    with get_client(sync_client=True) as client:
        while True:
            found = client.read_flow_runs(flow_run_filter=wanted)
            over = [run for run in found if run.state is not None and run.state.is_final()]
            for run in over:
                if run.state_name != "Completed":
                    raise RuntimeError(f"{run.name} did not complete: {run.state}")
            if len(over) == len(runs):
                return over
            time.sleep(_LOOK_SECONDS)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def drain() -> None:
    """Sends what Prefect's client holds back, for which it would look for its server a minute."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    APILogWorker.drain_all()
    EventsWorker.drain_all()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        return int(probe.getsockname()[1])


def _wait_until_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    give_up = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < give_up:
        try:
            with urllib.request.urlopen(f"{url}/ready", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise _not_started("Prefect server", log)


def _wait_until_online(process: subprocess.Popen[bytes], name: str, log: Path) -> None:
    from prefect.client.orchestration import get_client

    give_up = time.monotonic() + _START_SECONDS
    with get_client(sync_client=True) as client:
        while process.poll() is None and time.monotonic() < give_up:
            if name in {worker.name for worker in client.read_workers_for_work_pool(POOL)}:
                return
            time.sleep(1)
    raise _not_started(f"worker {name}", log)


def _not_started(what: str, log: Path) -> RuntimeError:
    end = log.read_text(errors="replace")[-2000:]
    return RuntimeError(f"The {what} did not start. Its log ends:\n{end}")

"""What works on the benchmarks' own Prefect server, and the runs that it is given."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from uuid import UUID

from infra.servers.prefect import not_started, prefect_server
from infra.servers.process import end
from infra.servers.stack import Stack, prefect_stack
from storage.output.layout import PARTS

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

POOL = "facecrop-process"

_PATH = "/api/batch/upload-zip"
_BOUNDARY = "benchmark"
_MIB = 1 << 20
_START_SECONDS = 180
_POLL_SECONDS = 2.0
_RUNS_AT_ONCE = 200  # the most that a server gives at a time


def register() -> None:
    """Register Facecrop's pools and deployments on the server.

    Raises:
        RuntimeError: it does not work; the message says why.
    """
    done = subprocess.run(
        [sys.executable, "-m", "deployments"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"`python -m deployments` failed:\n{done.stdout}{done.stderr}")


@contextmanager
def production() -> Iterator[tuple[Stack, Path]]:
    """Run Prefect as in production, with Facecrop registered; give it and a folder to work in."""
    with (
        TemporaryDirectory(dir=Path.cwd(), prefix=".benchmark-") as name,
        prefect_stack() as stack,
    ):
        os.environ.update(stack.environment | {"PREFECT_WORKER_QUERY_SECONDS": "5"})
        os.environ["PREFECT_HOME"] = name
        register()
        yield stack, Path(name)


@contextmanager
def quickstart() -> Iterator[Path]:
    """Run Prefect as the quickstart does, on SQLite, with its worker; give a folder to work in."""
    with TemporaryDirectory(dir=Path.cwd(), prefix=".benchmark-") as name, prefect_server():
        worker = subprocess.Popen(
            [sys.executable, "-P", "-m", "deployments.serve"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        try:
            assert worker.stdout is not None
            if not worker.stdout.readline():
                raise RuntimeError("the quickstart's worker did not start")
            yield Path(name)
        finally:
            end(worker)


@contextmanager
def process_worker(name: str, slots: int = 1) -> Iterator[int]:
    """Run a worker with so many slots, and give its process id once the server knows it.

    Raises:
        RuntimeError: it does not start; the message has the end of its log.
    """
    log = Path(os.environ["PREFECT_HOME"]) / f"{name}.log"
    command = [sys.executable, "-m", "prefect", "worker", "start", "--name", name]
    with log.open("wb") as sink:
        process = subprocess.Popen(
            [*command, "--pool", POOL, "--limit", str(slots)],
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
        )
    try:
        _wait_until_online(process, name, log)
        yield process.pid
    finally:
        end(process)


def submit(deployment: str, parameters: Mapping[str, Any]) -> UUID:
    """Has a deployment run, and gives the flow run's id at once."""
    from prefect.client.schemas.objects import FlowRun
    from prefect.deployments import run_deployment

    run = run_deployment(deployment, parameters=dict(parameters), timeout=0)
    assert isinstance(run, FlowRun)
    return run.id


def ended(runs: Sequence[UUID], poll_seconds: float = _POLL_SECONDS) -> list[FlowRun]:
    """Wait until flow runs have ended, and give them.

    Raises:
        RuntimeError: one has not completed; the message says how it ended.
    """
    return [
        run
        for first in range(0, len(runs), _RUNS_AT_ONCE)
        for run in _ended(runs[first : first + _RUNS_AT_ONCE], poll_seconds)
    ]


def _ended(runs: Sequence[UUID], poll_seconds: float) -> list[FlowRun]:
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
            time.sleep(poll_seconds)


def shards_of(batch: FlowRun) -> list[FlowRun]:
    """A batch's shards that a worker has cropped."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import (
        FlowRunFilter,
        FlowRunFilterParentFlowRunId,
        FlowRunFilterState,
        FlowRunFilterStateName,
    )

    shards = FlowRunFilter(
        parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[batch.id]),
        state=FlowRunFilterState(name=FlowRunFilterStateName(any_=["Completed"])),
    )
    with get_client(sync_client=True) as client:
        return client.read_flow_runs(flow_run_filter=shards)


def written(output: Path, name: str) -> float:
    """When a file of an output on this disk came to its place, in seconds since the epoch."""
    return (output / name).stat().st_ctime  # it was written elsewhere and renamed


def last_part(output: Path) -> float:
    """When the last chunk of a batch on this disk was committed, in seconds since the epoch."""
    return max(one.stat().st_ctime for one in (output / PARTS).glob("*.parquet"))


@contextmanager
def service(folder: Path, deployment: str = "crop-archive/process") -> Iterator[tuple[int, str]]:
    """Run the HTTP service, its store in a folder; give its process id and address.

    Args:
        folder: that the store lies in.
        deployment: that its batches are handed to.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "facecrop", "serve", "--port", "0"],
        env={
            **os.environ,
            "FACECROP_HTTP_STORE": str(folder / "store"),
            "FACECROP_HTTP_RATE": "100000",
            "FACECROP_HTTP_DEPLOYMENT": deployment,
        },
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        url = process.stdout.readline().decode().strip().rpartition(" ")[2]
        if not url:
            raise RuntimeError("the service did not start")
        yield process.pid, url
    finally:
        end(process)


def upload(url: str, archive: Path, *, as_form: bool) -> str:
    """Upload a file and give its batch."""
    before = after = b""
    kind = "application/zip"
    if as_form:
        kind = f"multipart/form-data; boundary={_BOUNDARY}"
        disposition = 'Content-Disposition: form-data; name="file"; filename="a.zip"'
        before = f"--{_BOUNDARY}\r\n{disposition}\r\n\r\n".encode()
        after = f"\r\n--{_BOUNDARY}--\r\n".encode()

    def body() -> Iterator[bytes]:
        yield before
        with archive.open("rb") as file:
            while piece := file.read(_MIB):
                yield piece
        yield after

    length = len(before) + archive.stat().st_size + len(after)
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=600)
    headers = {"Content-Type": kind, "Content-Length": str(length)}
    connection.request("POST", _PATH, body(), headers)
    answer = connection.getresponse()
    data = answer.read()
    connection.close()
    if answer.status != 201:
        raise RuntimeError(f"{answer.status}: {data.decode()}")
    return str(json.loads(data)["batchId"])


def _wait_until_online(process: subprocess.Popen[bytes], name: str, log: Path) -> None:
    from prefect.client.orchestration import get_client

    give_up = time.monotonic() + _START_SECONDS
    with get_client(sync_client=True) as client:
        while process.poll() is None and time.monotonic() < give_up:
            if name in {worker.name for worker in client.read_workers_for_work_pool(POOL)}:
                return
            time.sleep(1)
    raise not_started(f"worker {name}", log)

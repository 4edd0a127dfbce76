"""A batch over a work pool: real workers, each a process of its own, on a real Prefect server."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterParentFlowRunId
from prefect.client.schemas.objects import FlowRun, State
from prefect.deployments import run_deployment
from prefect.states import Cancelling

from deployments.__main__ import main as apply_deployments
from flows.crop_archive import crop_archive
from intake.samples import write_sample
from tasks.settings import CropSettings
from tests.flows.batches import Result, result

pytestmark = [pytest.mark.service, pytest.mark.slow, pytest.mark.timeout(600)]

MEMBERS = 400
SETTINGS: dict[str, Any] = {"chunk": {"members": 10}, "run": {"shard_members": 50, "threads": 1}}
Worker = subprocess.Popen[bytes]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("shards") / "sample.zip"
    write_sample(path, MEMBERS)
    return path


@pytest.fixture(scope="module")
def expected(prefect: dict[str, str], archive: Path) -> Result:
    """What the batch gives where one run does it all."""
    output = archive.parent / "local"
    crop_archive(str(archive), str(output), CropSettings.model_validate(SETTINGS))
    return result(str(output))


@pytest.fixture
def start_worker(prefect: dict[str, str], tmp_path: Path) -> Iterator[Callable[[str], Worker]]:
    """Registers the deployments, and starts workers for them that end with the test."""
    os.environ["PREFECT_API_URL"] = prefect["PREFECT_API_URL"]
    assert apply_deployments() == 0
    workers: list[Worker] = []

    def start(name: str) -> Worker:
        command = [sys.executable, "-m", "prefect", "worker", "start", "--name", name]
        with (tmp_path / f"{name}.log").open("wb") as log:
            worker = subprocess.Popen(
                [*command, "--pool", "facecrop-process", "--type", "process", "--limit", "1"],
                env=os.environ | prefect | {"PREFECT_WORKER_QUERY_SECONDS": "2"},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        workers.append(worker)
        return worker

    yield start
    for worker in workers:
        if worker.poll() is None:
            os.killpg(worker.pid, signal.SIGTERM)
    for worker in workers:
        try:
            worker.wait(40)
        except subprocess.TimeoutExpired:
            os.killpg(worker.pid, signal.SIGKILL)
            worker.wait()


def submit(archive: Path, output: Path, **parameters: Any) -> FlowRun:
    run = run_deployment(
        "crop-archive/process",
        parameters={"archive": str(archive), "output": str(output), "settings": SETTINGS}
        | parameters,
        timeout=0,
    )
    assert isinstance(run, FlowRun)
    return run


def state(run: UUID) -> State[Any]:
    with get_client(sync_client=True) as client:
        found = client.read_flow_run(run).state
    assert found is not None
    return found


def shards_of(run: UUID) -> list[FlowRun]:
    with get_client(sync_client=True) as client:
        return client.read_flow_runs(
            flow_run_filter=FlowRunFilter(
                parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[run])
            )
        )


def family(process: int) -> list[int]:
    """A process and all that it has started, by proc(5)."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    found = [process]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found


def wait(what: Callable[[], bool], seconds: float = 240) -> None:
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until, "it took too long"
        time.sleep(0.5)


def test_two_workers_leave_what_one_run_leaves(
    start_worker: Callable[[str], Worker], archive: Path, expected: Result, tmp_path: Path
) -> None:
    start_worker("first")
    start_worker("second")
    run = submit(archive, tmp_path / "out", priority=2)
    wait(lambda: state(run.id).is_final())
    assert state(run.id).is_completed(), state(run.id)
    assert result(str(tmp_path / "out")) == expected
    shards = shards_of(run.id)
    assert sum(shard.state_name == "Completed" for shard in shards) >= 1
    assert all(shard.state is not None and shard.state.is_final() for shard in shards)
    assert {shard.work_queue_name for shard in shards} == {"priority-2"}
    assert len({shard.idempotency_key for shard in shards}) == len(shards)


def test_one_worker_alone_cannot_lock_itself_out(
    start_worker: Callable[[str], Worker], archive: Path, expected: Result, tmp_path: Path
) -> None:
    start_worker("only")
    run = submit(archive, tmp_path / "out")
    wait(lambda: state(run.id).is_final())
    assert state(run.id).is_completed(), state(run.id)
    assert result(str(tmp_path / "out")) == expected


def test_cancelling_a_batch_cancels_its_shards(
    start_worker: Callable[[str], Worker], archive: Path, tmp_path: Path
) -> None:
    start_worker("first")
    run = submit(archive, tmp_path / "out")
    wait(lambda: len(shards_of(run.id)) > 0)
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(run.id, Cancelling())
    wait(lambda: state(run.id).is_final())
    assert state(run.id).is_cancelled()
    wait(lambda: {shard.state_name for shard in shards_of(run.id)} <= {"Cancelled", "Completed"})
    assert not (tmp_path / "out" / "manifest.parquet").exists()


def test_a_machine_that_dies_in_the_middle_of_a_shard_costs_only_time(
    start_worker: Callable[[str], Worker], archive: Path, expected: Result, tmp_path: Path
) -> None:
    start_worker("first")
    halves = {"chunk": {"members": 10}, "run": {"shard_members": 200, "threads": 1}}
    run = submit(archive, tmp_path / "out", settings=halves)
    wait(lambda: len(shards_of(run.id)) > 0)
    dies = start_worker("dies")
    wait(lambda: any(shard.state_name == "Running" for shard in shards_of(run.id)))
    for process in family(dies.pid):  # the worker, and the run that it has started
        os.kill(process, signal.SIGKILL)
    wait(lambda: state(run.id).is_final(), 400)
    assert state(run.id).is_completed(), state(run.id)
    assert result(str(tmp_path / "out")) == expected
    (crashed,) = (shard for shard in shards_of(run.id) if shard.state_name == "Crashed")
    assert crashed.state is not None
    assert "No heartbeat for 90 seconds" in str(crashed.state.message)

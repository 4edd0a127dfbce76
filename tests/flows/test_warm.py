"""Runs that a worker forks come out as those that it starts, whatever becomes of its servers."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import fsspec
import pytest
from prefect.client.schemas.objects import FlowRun
from prefect.deployments import run_deployment

from detection.forking.start import can_fork
from infra.servers.process import descendants, memory
from tests.flows.batches import result
from tests.services import S3, Slow, slow_sample
from tests.workers import Worker, at_work, process_workers, state, states, wait, wait_for_end

pytestmark = [
    pytest.mark.service,
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not can_fork(), reason="fork servers need Linux"),
]

MEMBERS = 40
FORKED = "facecrop-run"
ONCE = ["Scheduled", "Pending", "Submitting", "Running", "Completed"]
MIB = 1 << 20


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slow]:
    """A sample, and where each of its eight chunks takes a while to come."""
    with slow_sample(tmp_path_factory.mktemp("warm"), MEMBERS, 0.5) as slow:
        yield slow


@pytest.fixture(scope="module")
def worker(deployed: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """One worker, whose fork servers are up, and which may have two runs at once."""
    with process_workers(deployed, tmp_path_factory.mktemp("workers"), limit=2) as start:
        worker = start("warm")
        wait(lambda: len(servers(worker)) == 2)
        yield worker


def servers(worker: Worker) -> list[int]:
    """The fork servers of a worker."""
    return sorted(set(descendants(worker.pid)) - set(at_work(worker)))


def start(archive: str, output: Path | str, chunk: int = 5, **job_variables: Any) -> UUID:
    settings = {"chunk": {"members": chunk}, "run": {"threads": 1}}
    run = run_deployment(
        "crop-archive/process",
        parameters={"archive": archive, "output": str(output), "settings": settings},
        job_variables=job_variables,
        timeout=0,
    )
    assert isinstance(run, FlowRun)
    return run.id


def wait_for_the_middle(worker: Worker, run: UUID, output: Path) -> set[str]:
    """Wait until a chunk is there; give the names of the processes that work."""
    wait(lambda: any(output.glob("parts/*")), each=0.05)
    assert not state(run).is_final()
    return {name_of(pid) for pid in at_work(worker)}


def name_of(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()


def completed(run: UUID) -> bool:
    wait_for_end(run)
    return state(run).is_completed()


def nothing_left(worker: Worker) -> bool:
    """Wait until no process of a run is there; whether those that fork have one thread each."""
    wait(lambda: not at_work(worker), 60, each=0.1)
    return all(len(list(Path(f"/proc/{pid}/task").iterdir())) == 1 for pid in servers(worker))


def test_runs_are_forked_and_leave_nothing(worker: Worker, slow: Slow, tmp_path: Path) -> None:
    before = servers(worker)
    first, second = (start(slow.url, tmp_path / name) for name in ("first", "second"))
    for run, name in ((first, "first"), (second, "second")):
        assert wait_for_the_middle(worker, run, tmp_path / name) >= {FORKED, "facecrop-image"}
    assert completed(first)
    assert completed(second)
    assert states(first) == ONCE
    assert nothing_left(worker)
    assert servers(worker) == before
    cold = start(str(slow.sample), tmp_path / "cold", warm=False)
    assert completed(cold)
    one, other, started = (result(str(tmp_path / name)) for name in ("first", "second", "cold"))
    assert one == other
    assert (one.crops, one.manifest, one.faces) == (started.crops, started.manifest, started.faces)


def test_an_idle_worker_takes_little_memory(worker: Worker) -> None:
    assert nothing_left(worker)
    held = sum(memory(pid, "Pss", "smaps_rollup") for pid in (worker.pid, *servers(worker)))
    assert held < 400 * MIB


@pytest.mark.parametrize(
    ("job_variables", "forked"),
    [
        ({"env": {"FACECROP_TOLD": "1"}}, True),
        ({"env": {"PREFECT_LOGGING_LEVEL": "WARNING"}}, False),
        ({"warm": False}, False),
    ],
)
def test_what_a_job_says_of_itself_holds(
    worker: Worker,
    slow: Slow,
    tmp_path: Path,
    job_variables: dict[str, Any],
    forked: bool,
) -> None:
    run = start(slow.url, tmp_path / "out", **job_variables)
    assert (FORKED in wait_for_the_middle(worker, run, tmp_path / "out")) == forked
    assert completed(run)
    assert nothing_left(worker)


def test_two_at_once_with_other_keys_to_the_store(worker: Worker, slow: Slow, s3: S3) -> None:
    fs, _ = fsspec.url_to_fs(f"s3://{s3.bucket}/")
    fs.put_file(str(slow.sample), f"{s3.bucket}/warm/sample.zip")
    archive, output = (f"s3://{s3.bucket}/warm/{name}" for name in ("sample.zip", "out"))
    wrong = s3.environment | {"AWS_SECRET_ACCESS_KEY": "wrong"}
    refused, right = (start(archive, output, env=env) for env in (wrong, s3.environment))
    assert completed(right)
    wait_for_end(refused)
    assert state(refused).is_failed(), state(refused)
    assert len(result(output).manifest) == MEMBERS
    assert nothing_left(worker)


@pytest.mark.parametrize("kind", ["deployments.warm.server", "detection.sandbox.forkserver"])
def test_a_fork_server_that_is_killed_loses_nothing(
    worker: Worker, slow: Slow, tmp_path: Path, kind: str
) -> None:
    run = start(slow.url, tmp_path / "out")
    wait_for_the_middle(worker, run, tmp_path / "out")
    (server,) = (pid for pid in servers(worker) if kind in Path(f"/proc/{pid}/cmdline").read_text())
    os.kill(server, signal.SIGKILL)
    assert completed(run)
    assert states(run) == ONCE
    assert completed(start(slow.url, tmp_path / "next"))
    assert nothing_left(worker)
    assert result(str(tmp_path / "out")) == result(str(tmp_path / "next"))


def test_a_run_that_dies_takes_no_other_with_it(worker: Worker, slow: Slow, tmp_path: Path) -> None:
    dying = start(slow.url, tmp_path / "dying", chunk=1)  # which takes longer than the other
    wait_for_the_middle(worker, dying, tmp_path / "dying")
    (pid,) = (pid for pid in at_work(worker) if name_of(pid) == FORKED)
    other = start(slow.url, tmp_path / "other")
    wait(lambda: any((tmp_path / "other").glob("parts/*")), each=0.05)
    os.kill(pid, signal.SIGKILL)
    wait(lambda: "Crashed" in states(dying))  # and is resumed
    assert completed(other)
    assert states(other) == ONCE
    assert completed(dying)
    assert nothing_left(worker)

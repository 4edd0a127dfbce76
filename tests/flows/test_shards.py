"""A batch over a work pool: real workers, each a process of its own, on a real Prefect server."""

import asyncio
import os
import re
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterName,
    FlowRunFilterState,
    FlowRunFilterStateName,
)
from prefect.client.schemas.objects import FlowRun
from prefect.states import Cancelling, Pending, Running

from benchmarks.process import descendants
from deployments.__main__ import main as apply_deployments
from deployments.worker import FacecropWorker
from flows.crop_archive import crop_archive
from intake.samples import write_sample
from tasks.crashes import OUTLIVED
from tasks.retries import ATTEMPTS
from tasks.settings import CropSettings
from tests.flows.batches import Result, result
from tests.workers import (
    StartWorker,
    artifacts_of,
    kill,
    look,
    process_workers,
    shards_of,
    state,
    states,
    submit,
    taken_by,
    wait,
    wait_for_end,
)

pytestmark = [pytest.mark.service, pytest.mark.slow, pytest.mark.timeout(600)]

MEMBERS = 800
SETTINGS: dict[str, Any] = {"chunk": {"members": 10}, "run": {"shard_members": 50, "threads": 1}}


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
def start_worker(prefect: dict[str, str], tmp_path: Path) -> Iterator[StartWorker]:
    """Registers the deployments, and starts workers for them that end with the test."""
    os.environ["PREFECT_API_URL"] = prefect["PREFECT_API_URL"]
    assert apply_deployments() == 0
    with process_workers(prefect, tmp_path) as start:
        yield start


def submit_batch(archive: Path, output: Path, **parameters: Any) -> FlowRun:
    return submit(str(archive), str(output), **{"settings": SETTINGS, **parameters})


def test_two_workers_leave_what_one_run_leaves(
    start_worker: StartWorker, archive: Path, expected: Result, tmp_path: Path
) -> None:
    start_worker("first")
    start_worker("second")
    run = submit_batch(archive, tmp_path / "out", priority=2)
    wait_for_end(run.id)
    assert state(run.id).is_completed(), state(run.id)
    assert result(str(tmp_path / "out")) == expected
    shards = shards_of(run.id)
    assert sum(shard.state_name == "Completed" for shard in shards) >= 1
    assert all(shard.state is not None and shard.state.is_final() for shard in shards)
    assert {shard.work_queue_name for shard in shards} == {"priority-2"}
    # those too that no worker has begun
    assert all(shard.name.startswith(f"{archive.name} · shard ") for shard in shards)
    # the batch's page says who did how much
    (summary,) = (str(one.data) for one in artifacts_of(run.id) if one.key == "batch-summary")
    shares = re.findall(r"\| `(\w+)` \| ([\d,]+) \| \d+ % \|", summary)
    assert {name for name, _ in shares} == {"first", "second"}
    assert sum(int(images.replace(",", "")) for _, images in shares) == MEMBERS
    assert len({shard.idempotency_key for shard in shards}) == len(shards)


def test_one_worker_alone_cannot_lock_itself_out(
    start_worker: StartWorker, archive: Path, expected: Result, tmp_path: Path
) -> None:
    start_worker("only")
    run = submit_batch(archive, tmp_path / "out")
    wait_for_end(run.id)
    assert state(run.id).is_completed(), state(run.id)
    assert result(str(tmp_path / "out")) == expected


def test_cancelling_a_batch_cancels_its_shards(
    start_worker: StartWorker, archive: Path, tmp_path: Path
) -> None:
    start_worker("first")
    run = submit_batch(archive, tmp_path / "out")
    wait(lambda: len(shards_of(run.id)) > 0)
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(run.id, Cancelling())
    wait_for_end(run.id)
    assert state(run.id).is_cancelled()
    wait(lambda: {shard.state_name for shard in shards_of(run.id)} <= {"Cancelled", "Completed"})
    assert not (tmp_path / "out" / "manifest.parquet").exists()


def test_a_batch_cancelled_while_it_starts_its_shards_leaves_none(
    start_worker: StartWorker, archive: Path, tmp_path: Path
) -> None:
    start_worker("first")
    many = {"chunk": {"members": 10}, "run": {"shard_members": 10, "shards_at_once": 80}}
    run = submit_batch(archive, tmp_path / "out", settings=many)
    wait(lambda: len(shards_of(run.id)) > 0, each=0.1)
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(run.id, Cancelling())
    wait_for_end(run.id)
    assert state(run.id).is_cancelled()
    shards = shards_of(run.id)
    assert len(shards) < MEMBERS / 10  # it was cancelled before it had started them all
    assert {shard.state_name for shard in shards} == {"Cancelled"}


def test_a_run_cancelled_while_its_process_starts_ends_as_cancelled(
    start_worker: StartWorker, archive: Path, tmp_path: Path
) -> None:
    start_worker("first")
    run = submit_batch(archive, tmp_path / "out")
    wait(lambda: state(run.id).is_pending(), each=0.02)
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(run.id, Cancelling())
    wait(lambda: state(run.id).is_final(), 60)
    assert "Running" not in states(run.id)
    assert state(run.id).is_cancelled()


def test_a_machine_that_dies_in_the_middle_of_a_shard_costs_only_time(
    start_worker: StartWorker, archive: Path, expected: Result, tmp_path: Path
) -> None:
    start_worker("first")
    halves = {"chunk": {"members": 10}, "run": {"shard_members": 400, "threads": 1}}
    run = submit_batch(archive, tmp_path / "out", settings=halves)
    wait(lambda: len(shards_of(run.id)) > 0)
    dies = start_worker("dies")
    wait(lambda: any(shard.state_name == "Running" for shard in shards_of(run.id)))
    kill(dies)
    wait_for_end(run.id, 400)
    assert state(run.id).is_completed(), state(run.id)
    assert result(str(tmp_path / "out")) == expected
    (crashed,) = (shard for shard in shards_of(run.id) if shard.state_name == "Crashed")
    assert crashed.state is not None
    assert "No heartbeat for 90 s" in str(crashed.state.message)


def test_a_worker_that_is_told_to_stop_gives_its_run_back(
    start_worker: StartWorker, archive: Path, expected: Result, tmp_path: Path
) -> None:
    workers = {name: start_worker(name) for name in ("one", "other")}
    halves = {"chunk": {"members": 10}, "run": {"shard_members": 400, "threads": 1}}
    run = submit_batch(archive, tmp_path / "out", settings=halves)
    wait(lambda: any(shard.state_name == "Running" for shard in shards_of(run.id)))
    name = taken_by(look(run.id))
    stops = workers[name]
    stops.send_signal(signal.SIGTERM)  # it has the run that planned the batch, and crops a shard
    assert stops.wait(20) == 0
    assert state(run.id).name == "AwaitingRetry"
    assert all(
        taken_by(shard) != name for shard in shards_of(run.id) if shard.state_name == "Running"
    )
    wait_for_end(run.id)
    assert state(run.id).is_completed(), state(run.id)
    assert states(run.id).count("Running") == 2
    assert result(str(tmp_path / "out")) == expected
    assert {shard.state_name for shard in shards_of(run.id)} <= {"Cancelled", "Completed"}


def has_outlived(run: FlowRun, crashes: int) -> bool:
    return int(str(look(run.id).labels.get(OUTLIVED, 0))) >= crashes


def test_a_batch_that_gets_on_outlives_any_number_of_crashes(
    start_worker: StartWorker, tmp_path: Path
) -> None:
    write_sample(tmp_path / "sample.zip", 2 * MEMBERS)
    worker = start_worker("only")
    settings = {"chunk": {"members": 10}, "run": {"threads": 1, "shard_members": 10_000}}
    run = submit_batch(tmp_path / "sample.zip", tmp_path / "out", settings=settings)
    for crash in range(ATTEMPTS):
        wait(lambda: state(run.id).is_running(), each=0.1)
        if crash:  # it says that it got on after the last one
            wait(partial(has_outlived, run, crash))
        else:
            wait(lambda: any((tmp_path / "out").glob("parts/*")), each=0.1)
        for process in descendants(worker.pid):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        wait(lambda: not state(run.id).is_running(), each=0.1)
    wait_for_end(run.id)
    assert state(run.id).is_completed(), state(run.id)
    done = result(str(tmp_path / "out"))
    assert [row["member"] for row in done.manifest] == list(range(2 * MEMBERS))


def test_a_shard_of_which_nothing_is_heard_is_cropped_by_its_batch(
    start_worker: StartWorker, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.shards._SILENT_SECONDS", 8)
    settings = CropSettings.model_validate({**SETTINGS, "limits": {"image_seconds": 2}})
    first = FlowRunFilter(
        name=FlowRunFilterName(any_=[f"{archive.name} · shard 0"]),
        state=FlowRunFilterState(name=FlowRunFilterStateName(any_=["Scheduled"])),
    )
    with ThreadPoolExecutor() as thread, get_client(sync_client=True) as client:
        output = str(tmp_path / "out")
        crop = partial(crop_archive, str(archive), output, settings, "process")
        batch = thread.submit(copy_context().run, crop)  # the settings, with the server's address
        wait(lambda: bool(client.read_flow_runs(flow_run_filter=first)), each=0.1)
        (shard,) = client.read_flow_runs(flow_run_filter=first)
        # as if a worker had begun it, and had died with all that knew of it
        client.set_flow_run_state(shard.id, Running(), force=True)
        summary = batch.result()
    assert summary.members == MEMBERS
    assert state(shard.id).is_crashed()


def test_a_run_that_was_taken_and_never_started_is_due_again(
    start_worker: StartWorker, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = submit_batch(archive, tmp_path / "out")
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(run.id, Pending())

    async def look_after_it() -> None:
        async with FacecropWorker(work_pool_name="facecrop-process") as worker:
            await worker.sync_with_backend()

    asyncio.run(look_after_it())
    assert state(run.id).is_pending()  # somebody may be about to start it
    monkeypatch.setattr("deployments.worker._UNSTARTED", timedelta(0))
    asyncio.run(look_after_it())
    assert state(run.id).name == "AwaitingRetry"
    start_worker("next")
    wait_for_end(run.id)
    assert state(run.id).is_completed()


def test_a_worker_in_the_background_of_a_script_stops_too(
    start_worker: StartWorker, tmp_path: Path
) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as `&` does; it is inherited
    try:
        worker = start_worker("background")
    finally:
        signal.signal(signal.SIGINT, before)
    wait(lambda: "Worker 'background' started!" in (tmp_path / "background.log").read_text())
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(20) == 0

"""A batch over a work pool: real workers, each a process of its own, on a real Prefect server."""

import asyncio
import os
import re
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterName,
    FlowRunFilterState,
    FlowRunFilterStateName,
)
from prefect.client.schemas.objects import FlowRun
from prefect.deployments import run_deployment
from prefect.exceptions import TerminationSignal
from prefect.states import Cancelling, Pending, Running

from deployments.worker import FacecropWorker
from flows.crop_archive import crop_archive
from infra.servers.process import descendants
from intake.cli.samples import write_sample
from pipeline.retries import ATTEMPTS
from pipeline.settings import CropSettings
from pipeline.summary import Summary
from tasks.lifecycle.crashes import OUTLIVED
from tasks.lifecycle.current import current_run
from tasks.plan import plan
from tasks.reporting.reporter import Reporter
from tasks.shards import crop_shards, plan_shards
from tests.flows.batches import Result, result
from tests.pictures import astronaut_jpeg
from tests.services import Slow, served_slowly
from tests.workers import (
    StartWorker,
    Worker,
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

MEMBERS = 120
SETTINGS: dict[str, Any] = {"chunk": {"members": 5}, "run": {"shard_members": 25, "threads": 1}}
HALVES = {"chunk": {"members": 5}, "run": {"shard_members": 60, "threads": 1}}
QUARTERS = {"chunk": {"members": 5}, "run": {"shard_members": 30, "threads": 1}}


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("shards") / "sample.zip"
    write_sample(path, MEMBERS)
    return path


@pytest.fixture
def slow(archive: Path) -> Iterator[Slow]:
    """The same archive where each of a batch's chunks takes a while to come."""
    with served_slowly(archive, 0.8) as slow:
        yield slow


@pytest.fixture(scope="module")
def expected(prefect: dict[str, str], archive: Path) -> Result:
    """What the batch gives where one run does it all."""
    output = archive.parent / "local"
    crop_archive(str(archive), str(output), CropSettings.model_validate(SETTINGS))
    return result(str(output))


@pytest.fixture
def start_worker(deployed: dict[str, str], tmp_path: Path) -> Iterator[StartWorker]:
    """Start workers for the deployments, that end with the test."""
    with process_workers(deployed, tmp_path) as start:
        yield start


@pytest.fixture
def two_workers(start_worker: StartWorker, tmp_path: Path) -> dict[str, Worker]:
    """Two, by name, that wait for work."""
    workers = {name: start_worker(name) for name in ("one", "other")}
    wait(lambda: all("started!" in (tmp_path / f"{name}.log").read_text() for name in workers))
    return workers


def submit_batch(archive: Path | str, output: Path, **parameters: Any) -> FlowRun:
    return submit(str(archive), str(output), **{"settings": SETTINGS, **parameters})


def test_two_workers_leave_what_one_run_leaves(
    two_workers: dict[str, Worker], slow: Slow, expected: Result, tmp_path: Path
) -> None:
    run = submit_batch(slow.url, tmp_path / "out", priority=2, settings=QUARTERS)
    wait(lambda: any(shard.state_name == "Running" for shard in shards_of(run.id)))
    slow.hurry()
    wait_for_end(run.id)
    assert state(run.id).is_completed(), state(run.id)
    assert result(str(tmp_path / "out")) == expected
    shards = shards_of(run.id)
    assert sum(shard.state_name == "Completed" for shard in shards) >= 1
    assert all(shard.state is not None and shard.state.is_final() for shard in shards)
    assert {shard.work_queue_name for shard in shards} == {"priority-2"}
    # those too that no worker has begun
    assert all(shard.name.startswith("sample.zip · shard ") for shard in shards)
    # the batch's page says who did how much
    (summary,) = (str(one.data) for one in artifacts_of(run.id) if one.key == "batch-summary")
    shares = re.findall(r"\| `(\w+)` \| ([\d,]+) \| \d+ % \|", summary)
    assert {name for name, _ in shares} == two_workers.keys()
    assert sum(int(images.replace(",", "")) for _, images in shares) == MEMBERS
    assert len({shard.idempotency_key for shard in shards}) == len(shards)


def test_a_batch_of_one_shard_starts_no_other_run(
    deployed: dict[str, str], archive: Path, expected: Result, tmp_path: Path
) -> None:
    settings = {**SETTINGS, "run": {"shard_members": MEMBERS}}
    state = crop_archive(
        str(archive),
        str(tmp_path / "out"),
        CropSettings.model_validate(settings),
        work_pool="process",
        return_state=True,
    )
    assert state.is_completed()
    assert result(str(tmp_path / "out")) == expected
    assert state.state_details.flow_run_id is not None
    assert shards_of(state.state_details.flow_run_id) == []


def test_a_shard_that_was_being_started_as_the_batch_was_cancelled_does_not_wait_for_ever(
    deployed: dict[str, str], archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server makes a run that it was asked for, even where nobody waits for its answer."""
    monkeypatch.setattr("tasks.shards.hurry", lambda: None)  # it would last beyond this test
    asked: list[threading.Thread] = []
    runs: list[UUID] = []

    def start(*given: Any, **parameters: Any) -> Any:
        if asked:
            return run_deployment(*given, **parameters)
        runs.append(current_run().id)
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(runs[0], Cancelling())
        late = partial(copy_context().run, run_deployment, *given, **parameters)
        asked.append(threading.Timer(1.0, late))
        asked[0].start()
        raise TerminationSignal(signal=signal.SIGTERM)

    monkeypatch.setattr("tasks.shards.run_deployment", start)

    @flow
    def cancelled() -> None:
        batch = plan(str(archive), str(tmp_path / "out"), CropSettings())
        reporter = Reporter(batch.progress, "", lambda _: None)
        with pytest.raises(TerminationSignal):
            crop_shards(batch, plan_shards(batch).shards, "crop-shard/process", 5, reporter)
        asked[0].join()

    cancelled()
    assert [shard.state_name for shard in shards_of(runs[0])] == ["Cancelled"]


@pytest.mark.usefixtures("deployed")
def test_what_has_come_to_a_folder_is_cut_into_shards(tmp_path: Path) -> None:
    photos, output = tmp_path / "photos", str(tmp_path / "out")
    photos.mkdir()

    def extended(members: int) -> tuple[Summary, int]:
        """The batch with so many photographs in its folder, and how many shards it was cut into."""
        for number in range(members):
            (photos / f"{number:02}.jpg").write_bytes(astronaut_jpeg(64))
        run = {"shard_members": 4, "threads": 1, "existing": "extend"}
        chosen = CropSettings.model_validate({"chunk": {"members": 2}, "run": run})
        ended = crop_archive(str(photos), output, chosen, work_pool="process", return_state=True)
        assert ended.state_details.flow_run_id is not None
        return ended.result(), len(shards_of(ended.state_details.flow_run_id))

    first, _ = extended(3)
    assert first.members == 3
    summary, shards = extended(12)  # of which those that were there are written again
    assert (summary.members, summary.resumed, summary.changed) == (12, 3, 3)
    assert shards == 3
    assert [row["member"] for row in result(output).manifest] == list(range(12))
    summary, shards = extended(0)
    assert (summary.members, summary.resumed, shards) == (12, 12, 0)


def test_a_run_cancelled_while_its_process_starts_ends_as_cancelled(
    start_worker: StartWorker, archive: Path, tmp_path: Path
) -> None:
    start_worker("first")  # whose runs take a while to start yet
    run = submit_batch(archive, tmp_path / "out")
    wait(lambda: state(run.id).is_pending(), each=0.02)
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(run.id, Cancelling())
    wait(lambda: state(run.id).is_final(), 60)
    assert "Running" not in states(run.id)
    assert state(run.id).is_cancelled()


def test_a_machine_that_dies_in_the_middle_of_a_shard_costs_only_time(
    two_workers: dict[str, Worker], slow: Slow, expected: Result, tmp_path: Path
) -> None:
    run = submit_batch(slow.url, tmp_path / "out", settings=HALVES)
    wait(lambda: any(shard.state_name == "Running" for shard in shards_of(run.id)))
    (dies,) = (taken_by(one) for one in shards_of(run.id) if one.state_name == "Running")
    kill(two_workers[dies])
    slow.hurry()
    wait_for_end(run.id, 400)
    assert state(run.id).is_completed(), state(run.id)
    assert result(str(tmp_path / "out")) == expected
    ends = [(shard.state_name, shard.state) for shard in shards_of(run.id)]
    crashes = [str(end.message) for name, end in ends if name == "Crashed" and end]
    assert len(crashes) == 1, ends
    assert "No heartbeat for 90 s" in crashes[0]


def test_a_worker_that_is_told_to_stop_gives_its_run_back(
    two_workers: dict[str, Worker], slow: Slow, expected: Result, tmp_path: Path
) -> None:
    run = submit_batch(slow.url, tmp_path / "out", settings=HALVES)
    wait(lambda: any(shard.state_name == "Running" for shard in shards_of(run.id)))
    name = taken_by(look(run.id))
    stops = two_workers[name]
    stops.send_signal(signal.SIGTERM)  # it has the run that planned the batch, and crops a shard
    assert stops.wait(20) == 0
    assert state(run.id).name == "AwaitingRetry"
    assert all(
        taken_by(shard) != name for shard in shards_of(run.id) if shard.state_name == "Running"
    )
    slow.hurry()
    wait_for_end(run.id)
    assert state(run.id).is_completed(), state(run.id)
    assert states(run.id).count("Running") == 2
    assert result(str(tmp_path / "out")) == expected
    assert {shard.state_name for shard in shards_of(run.id)} <= {"Cancelled", "Completed"}


def has_outlived(run: FlowRun, crashes: int) -> bool:
    return int(str(look(run.id).labels.get(OUTLIVED, 0))) >= crashes


@pytest.fixture(scope="class")
def only(deployed: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    with process_workers(deployed, tmp_path_factory.mktemp("only")) as start:
        yield start("only")


class TestOneWorker:
    """What a single worker does, which all of these share."""

    def test_one_worker_alone_cannot_lock_itself_out(
        self, only: Worker, archive: Path, expected: Result, tmp_path: Path
    ) -> None:
        run = submit_batch(archive, tmp_path / "out")
        wait_for_end(run.id)
        assert state(run.id).is_completed(), state(run.id)
        assert result(str(tmp_path / "out")) == expected

    def test_cancelling_a_batch_cancels_its_shards(
        self, only: Worker, slow: Slow, tmp_path: Path
    ) -> None:
        run = submit_batch(slow.url, tmp_path / "out")
        wait(lambda: len(shards_of(run.id)) > 0)
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(run.id, Cancelling())
        wait_for_end(run.id)
        assert state(run.id).is_cancelled()
        wait(
            lambda: {shard.state_name for shard in shards_of(run.id)} <= {"Cancelled", "Completed"}
        )
        assert not (tmp_path / "out" / "manifest.parquet").exists()

    def test_a_batch_cancelled_while_it_starts_its_shards_leaves_none(
        self, only: Worker, slow: Slow, tmp_path: Path
    ) -> None:
        many = {"chunk": {"members": 1}, "run": {"shard_members": 1, "shards_at_once": 100}}
        run = submit_batch(slow.url, tmp_path / "out", settings=many)
        wait(lambda: len(shards_of(run.id)) > 0, each=0.1)
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(run.id, Cancelling())
        wait_for_end(run.id)
        assert state(run.id).is_cancelled()
        shards = shards_of(run.id)
        assert len(shards) < 100  # it was cancelled before it had started them all
        assert {shard.state_name for shard in shards} == {"Cancelled"}

    def test_a_batch_that_gets_on_outlives_any_number_of_crashes(
        self, only: Worker, slow: Slow, expected: Result, tmp_path: Path
    ) -> None:
        settings = {"chunk": {"members": 2}, "run": {"threads": 1, "shard_members": 10_000}}
        run = submit_batch(slow.url, tmp_path / "out", settings=settings)
        for crash in range(ATTEMPTS):
            wait(lambda: state(run.id).is_running(), each=0.1)
            if crash:  # it says that it got on after the last one
                wait(partial(has_outlived, run, crash))
            else:
                wait(lambda: any((tmp_path / "out").glob("parts/*")), each=0.1)
            for process in descendants(only.pid):
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            wait(lambda: not state(run.id).is_running(), each=0.1)
        slow.hurry()
        wait_for_end(run.id)
        assert state(run.id).is_completed(), state(run.id)
        done = result(str(tmp_path / "out"))
        assert (done.crops, done.manifest, done.faces) == (
            expected.crops,
            expected.manifest,
            expected.faces,
        )


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

    monkeypatch.setattr("deployments.worker.warm_runs", lambda _: None)  # it starts no run
    asyncio.run(look_after_it())
    assert state(run.id).is_pending()  # somebody may be about to start it
    monkeypatch.setattr("deployments.lost.START", timedelta(0))
    monkeypatch.setattr("deployments.lost._LATER", timedelta(0))
    asyncio.run(look_after_it())
    assert "AwaitingRetry" in states(run.id)  # and perhaps taken by now
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

"""How a worker asks for work, and what it sets right that nobody else has."""

import asyncio
import logging
import os
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import asyncpg  # type: ignore[import-untyped]
import pytest
from prefect.client.orchestration import get_client
from prefect.events import emit_event
from prefect.events.filters import EventFilter, EventNameFilter, EventResourceFilter
from prefect.states import Crashed, Running

from deployments.automations import RESUMES, SILENCE
from deployments.lost import LostRuns
from deployments.worker import FacecropWorker
from intake.cli.samples import write_sample
from tests.services import DATABASE
from tests.workers import remove_unended_runs, state, states, submit, this_client, wait

pytestmark = [pytest.mark.service, pytest.mark.slow]


@pytest.fixture(autouse=True)
def cold(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers as where runs cannot be forked: most of these here start none."""
    monkeypatch.setattr("deployments.worker.warm_runs", lambda _: None)


@pytest.fixture
def queued(deployed: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many batches wait for a worker, at least; none that is told of them takes one."""
    monkeypatch.setattr(FacecropWorker, "_listen", lambda _: None)
    for number in range(4):
        submit(str(tmp_path / "photos.zip"), str(tmp_path / str(number)), {})
    return 4


def poll(limit: int | None, taken: int = 0, pool: str = "facecrop-process") -> int:
    """How many runs a worker is given that has so many slots, and so many of them taken."""

    async def ask() -> int:
        async with FacecropWorker(pool, limit=limit, create_pool_if_not_found=False) as worker:
            for _ in range(taken):
                worker.limiter.acquire_on_behalf_of_nowait(uuid4())
            return len(await worker._get_scheduled_flow_runs())

    return asyncio.run(ask())


@pytest.mark.parametrize(("taken", "read"), [(0, 2), (1, 1), (2, 0)])
def test_a_worker_reads_as_many_runs_as_it_has_free_slots(
    queued: int, taken: int, read: int
) -> None:
    assert poll(2, taken) == read


def test_a_worker_without_a_limit_reads_all(queued: int) -> None:
    assert poll(None) >= queued


def test_a_pool_that_is_not_there_yet_has_no_runs(deployed: dict[str, str]) -> None:
    assert poll(1, pool="nowhere") == 0


def test_a_worker_is_told_of_a_run_that_is_due(deployed: dict[str, str], tmp_path: Path) -> None:
    write_sample(tmp_path / "photos.zip", 2)

    async def work() -> bool:
        """Whether a batch completes on a worker that never asks by the clock."""
        async with FacecropWorker("facecrop-process", limit=1) as worker:
            await worker.sync_with_backend()
            run = await asyncio.to_thread(
                submit, str(tmp_path / "photos.zip"), str(tmp_path / "out"), {}
            )
            while not (now := await asyncio.to_thread(state, run.id)).is_final():
                await asyncio.sleep(0.1)
            return now.is_completed()

    remove_unended_runs()
    assert asyncio.run(work())


@pytest.mark.parametrize("switched_on", [True, False])
def test_a_crashed_batch_that_nothing_resumed_is_due_again(
    deployed: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, switched_on: bool
) -> None:
    client = this_client()
    run = submit(str(tmp_path / "photos.zip"), str(tmp_path / "out"), {})
    [automation] = client.read_automations_by_name(RESUMES)
    # the automation is not to be first: without an event it knows of nothing
    client.pause_automation(automation.id)
    try:
        client.set_flow_run_state(run.id, Crashed(), force=True)
        looked_after()
        assert state(run.id).is_crashed()  # somebody may be about to resume it
        if switched_on:
            client.resume_automation(automation.id)
        monkeypatch.setattr("deployments.lost._LATER", timedelta(0))
        looked_after()
        assert ("AwaitingRetry" in states(run.id)) is switched_on  # and perhaps taken by now
    finally:
        client.resume_automation(automation.id)
        client.delete_flow_run(run.id)


@pytest.mark.parametrize("switched_on", [True, False])
def test_a_run_has_crashed_that_is_silent_while_events_arrive(
    deployed: dict[str, str], tmp_path: Path, switched_on: bool
) -> None:
    client = this_client()
    [automation] = client.read_automations_by_name(SILENCE)
    client.pause_automation(automation.id)  # as if it had not been told that they run
    silent, heard, _new = runs = [
        submit(str(tmp_path / "photos.zip"), str(tmp_path / str(number)), {}).id
        for number in range(3)
    ]

    async def look() -> None:
        async with get_client() as asked:
            lost = LostRuns(asked, "facecrop-process", logging.getLogger())
            before = probes()
            await lost.find()
            assert str(state(silent).name) == "Running"  # its heartbeats may be on their way
            if switched_on:
                await asyncio.to_thread(wait, lambda: probes() > before)
            await lost.find()

    try:
        for run in runs:
            client.set_flow_run_state(run, Running(), force=True)
        asyncio.run(began_long_ago([silent, heard]))
        heart = f"prefect.flow-run.{heard}"
        emit_event("prefect.flow-run.heartbeat", {"prefect.resource.id": heart})
        wait(lambda: events(EventFilter(resource=EventResourceFilter(id=[heart]))) > 0)
        if switched_on:
            client.resume_automation(automation.id)
        asyncio.run(look())
        found = {run: str(state(run).name) for run in runs}
        assert found == dict.fromkeys(runs, "Running") | (
            {silent: "Crashed"} if switched_on else {}
        )
    finally:
        client.resume_automation(automation.id)
        for run in runs:
            client.delete_flow_run(run)


def events(wanted: EventFilter) -> int:
    """How many of these events are on record."""
    return this_client().read_events(wanted, limit=1).total


def probes() -> int:
    return events(EventFilter(event=EventNameFilter(name=["facecrop.worker.probe"])))


async def began_long_ago(runs: list[UUID]) -> None:
    """Have runs have begun an hour ago, in the server's database: its API takes nobody's clock."""
    server = await asyncpg.connect(os.environ[DATABASE].replace("+asyncpg", ""))
    ago = "- interval '1 hour'"
    try:
        begun = f"UPDATE flow_run SET start_time = start_time {ago} WHERE id = any($1)"
        await server.execute(begun, runs)
        states = (
            f"UPDATE flow_run_state SET timestamp = timestamp {ago} WHERE flow_run_id = any($1)"
        )
        await server.execute(states, runs)
    finally:
        await server.close()


def looked_after() -> None:
    """Have a worker look after the runs of its pool, as it does each half minute."""

    async def look() -> None:
        async with FacecropWorker("facecrop-process") as worker:
            await worker.sync_with_backend()

    asyncio.run(look())

"""A batch at work is paused, resumed, cancelled and retried by commands, with real workers."""

import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID

import pytest

from flows.crop_archive import crop_archive
from intake.cli.main import main
from intake.cli.samples import write_sample
from pipeline.settings import CropSettings
from tests.flows.batches import Result, result
from tests.services import Slow, served_slowly
from tests.workers import Worker, at_work, process_workers, shards_of, state, states, wait

pytestmark = [pytest.mark.service, pytest.mark.slow, pytest.mark.timeout(900)]

MEMBERS = 120
# two shards: the batch's own run crops one, and leaves the other to the other worker
SETTINGS = ["--chunk-members", "5", "--run-shard-members", "60", "--run-threads", "1"]

Ask = Callable[..., tuple[int, str]]


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str]) -> Ask:
    """Run a command; give its exit code and what it wrote to standard output."""

    def run(*arguments: object) -> tuple[int, str]:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        said = capsys.readouterr()
        sys.stderr.write(said.err)  # for whoever reads why a test failed
        return code, said.out

    return run


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("steering") / "sample.zip"
    write_sample(path, MEMBERS)
    return path


@pytest.fixture
def slow(sample: Path) -> Iterator[Slow]:
    """The sample where each of a batch's chunks takes a while to come."""
    with served_slowly(sample, 1.0) as slow:
        yield slow


@pytest.fixture(scope="module")
def expected(deployed: dict[str, str], sample: Path) -> Result:
    """What a batch of it leaves where one run does it all."""
    output = sample.parent / "local"
    settings = CropSettings.model_validate({"chunk": {"members": 5}})
    crop_archive(str(sample), str(output), settings)
    return result(str(output))


@pytest.fixture(scope="module")
def workers(
    deployed: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[Worker]]:
    """Two, both waiting for work."""
    folder = tmp_path_factory.mktemp("workers")
    names = ("one", "other")
    with process_workers(deployed, folder) as start:
        started = [start(name) for name in names]
        logs = [folder / f"{name}.log" for name in names]
        wait(lambda: all("started!" in log.read_text() for log in logs))
        yield started


def submit(ask: Ask, archive: str, output: Path) -> UUID:
    where = ["--output", output, "--deployment", "crop-archive/process"]
    code, text = ask("submit", archive, *where, *SETTINGS, "--json")
    assert code == 0
    return UUID(json.loads(text)["id"])


def look(ask: Ask, batch: UUID) -> dict[str, object]:
    seen: dict[str, object] = json.loads(ask("status", batch, "--json")[1])
    return seen


def wait_for_the_middle(ask: Ask, batch: UUID) -> None:
    """Wait until some images are done, and a shard is at work elsewhere."""

    def reached() -> bool:
        seen = look(ask, batch)
        assert seen["state"] in ("queued", "running"), seen
        at_work = any(shard.state_name == "Running" for shard in shards_of(batch))
        return at_work and seen["members"] != 0

    wait(reached)


def idle(workers: list[Worker]) -> bool:
    """Whether all workers are there, and no run of theirs."""
    return all(not at_work(worker) and worker.poll() is None for worker in workers)


def shards_ended(batch: UUID) -> bool:
    return {shard.state_name for shard in shards_of(batch)} <= {"Cancelled", "Completed"}


def test_a_batch_is_paused_in_the_middle_resumed_and_its_failures_retried(
    workers: list[Worker], slow: Slow, expected: Result, ask: Ask, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    batch = submit(ask, slow.url, output)
    wait_for_the_middle(ask, batch)
    code, text = ask("pause", batch)
    assert (code, text.rpartition(": ")[2]) == (0, "paused\n")
    wait(lambda: idle(workers), 60)
    assert state(batch).name == "Suspended"
    wait(lambda: shards_ended(batch), 30)
    before = look(ask, batch)
    time.sleep(10)
    assert look(ask, batch) == before
    assert (before["state"], before["images_per_second"]) == ("paused", 0)
    assert not (output / "manifest.parquet").exists()

    slow.hurry()
    assert ask("resume", batch)[0] == 0
    code, text = ask("status", batch, "--watch")
    assert code == 3
    assert text.startswith(f"{slow.url}: ")
    assert states(batch).count("Running") == 2
    assert result(str(output)) == expected

    code, text = ask("retry", batch, "--watch")
    assert code == 3  # what is damaged stays so
    started, line, *_ = text.splitlines()
    assert line.startswith(f"{slow.url}: ")
    assert state(UUID(started.partition(":")[0])).is_completed()
    attempts = Counter(row["attempts"] for row in result(str(output)).manifest)
    failed = sum(row["status"] == "failed" for row in expected.manifest)
    assert attempts == {1: MEMBERS - failed, 2: failed}


def test_a_batch_is_cancelled_in_the_middle_and_goes_on_when_it_is_submitted_again(
    workers: list[Worker], slow: Slow, expected: Result, ask: Ask, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    batch = submit(ask, slow.url, output)
    wait_for_the_middle(ask, batch)
    code, text = ask("cancel", batch)
    assert (code, text.rpartition(": ")[2]) == (0, "cancelling\n")
    assert ask("status", batch, "--watch")[0] == 1
    assert look(ask, batch)["state"] == "cancelled"
    wait(lambda: shards_ended(batch), 60)
    wait(lambda: idle(workers), 60)
    assert not (output / "manifest.parquet").exists()

    slow.hurry()
    again = submit(ask, slow.url, output)
    assert ask("status", again, "--watch")[0] == 3
    assert result(str(output)) == expected

"""The inbox on a real Prefect server. What it starts waits in a work pool: no worker is there."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterName,
)
from prefect.client.schemas.objects import Artifact, FlowRun, State
from prefect.states import Completed

from flows.watch_inbox import watch_inbox
from pipeline.local import crop
from pipeline.settings import CropSettings
from pipeline.summary import Summary
from storage.errors import ArchiveError, OutputError
from storage.output.output import Output
from tasks.inbox import Started, StartError
from tests.pictures import astronaut_jpeg
from tests.services import S3
from tests.workers import artifacts_of

pytestmark = [
    *(pytest.mark.service, pytest.mark.slow, pytest.mark.timeout(600)),
    pytest.mark.usefixtures("deployed"),
]

ROOT = Path(__file__).resolve().parents[2]
OLD = time.time() - 1000
SETTINGS = CropSettings.model_validate({"crop": {"size": 128}})
# A copy of the flow in a process of its own, which says what it has started.
COPY = """
import json, sys
from flows.watch_inbox import watch_inbox
started = watch_inbox(*sys.argv[1:3], settle_seconds=0)
print(json.dumps([one.archive for one in started]))
"""


@pytest.fixture
def place(tmp_path: Path) -> Iterator[str]:
    """A folder for an inbox and an output; what was started for them is taken back at the end."""
    yield str(tmp_path)
    forget(str(tmp_path))


@pytest.fixture
def bucket(s3: S3, tmp_path: Path) -> Iterator[str]:
    """The same on an object store."""
    place = f"s3://{s3.bucket}/{tmp_path.name}"
    yield place
    forget(place)


def put(place: str, name: str, data: bytes = b"PK") -> str:
    """Put a file into the inbox, long ago where the file system lets one."""
    uri = f"{place}/in/{name}"
    fs, path = fsspec.url_to_fs(uri, use_listings_cache=False)
    fs.makedirs(fs._parent(path), exist_ok=True)
    fs.pipe_file(path, data)
    if "://" not in uri:
        os.utime(uri, (OLD, OLD))
    return uri


def watch(place: str, **parameters: Any) -> list[Started]:
    started = watch_inbox(f"{place}/in", f"{place}/out", **{"settle_seconds": 0} | parameters)
    assert isinstance(started, list)
    return started


def runs(place: str) -> list[FlowRun]:
    """The runs of batches for the archives below a place."""
    found: list[FlowRun] = []
    with get_client(sync_client=True) as client:
        while some := client.read_flow_runs(
            deployment_filter=DeploymentFilter(
                name=DeploymentFilterName(any_=["process", "docker"])
            ),
            offset=len(found),
        ):
            found += some
    return [run for run in found if str(run.parameters.get("archive")).startswith(f"{place}/")]


def archives(place: str) -> list[str]:
    return sorted(run.parameters["archive"] for run in runs(place))


def forget(place: str) -> None:
    """Delete the runs, as an operator or a rule does with old ones."""
    with get_client(sync_client=True) as client:
        for run in runs(place):
            client.delete_flow_run(run.id)


def begin(run: FlowRun) -> None:
    """What a batch does first: its record."""
    record = {"format": 1, "archive": {"uri": run.parameters["archive"]}, "settings": {}}
    Output(run.parameters["output"]).claim(record, "resume")


def artifacts(run: State[Any]) -> list[Artifact]:
    assert run.state_details.flow_run_id is not None
    return artifacts_of(run.state_details.flow_run_id)


@pytest.mark.parametrize("kind", ["place", "bucket"])
def test_each_archive_is_started_once(kind: str, request: pytest.FixtureRequest) -> None:
    place = request.getfixturevalue(kind)
    first, second = put(place, "a b/one.zip"), put(place, "two.tar.gz")
    put(place, "three.zip.part")
    put(place, "empty.zip", b"")
    if kind == "bucket":
        time.sleep(1)  # it tells times in whole seconds, so these may lie in the future
    started = watch(place, settings=SETTINGS, priority=3)
    assert sorted(one.archive for one in started) == [first, second]
    found = {run.id: run for run in runs(place)}
    assert set(found) == {one.flow_run_id for one in started}
    for one in started:
        run = found[one.flow_run_id]
        assert run.name == one.archive
        assert run.state_name == "Scheduled"
        assert (run.work_pool_name, run.work_queue_name) == ("facecrop-process", "priority-3")
        assert run.parent_task_run_id is None
        assert run.parameters == {
            "archive": one.archive,
            "output": one.output,
            "settings": SETTINGS.model_dump(mode="json"),
            "priority": 3,
            "work_pool": "process",
        }
        assert one.output.startswith(f"{place}/out/")
    assert watch(place) == []
    assert len(runs(place)) == 2


def test_copies_at_the_same_time_start_each_archive_once(
    prefect: dict[str, str], place: str
) -> None:
    expected = sorted(put(place, f"{number}.zip") for number in range(12))
    copies = [copy(prefect, place) for _ in range(3)]
    answers = [json.loads(one.communicate(timeout=120)[0]) for one in copies]
    assert [one.returncode for one in copies] == [0, 0, 0]
    assert archives(place) == expected
    # and each is said to have been started by the copy that did
    assert sorted(archive for answer in answers for archive in answer) == expected


def test_a_copy_that_is_killed_in_the_middle_leaves_the_rest_to_the_next(
    prefect: dict[str, str], place: str
) -> None:
    expected = sorted(put(place, f"{number:02}.zip") for number in range(30))
    dies = copy(prefect, place)
    while not runs(place):
        assert dies.poll() is None
        time.sleep(0.05)
    dies.send_signal(signal.SIGKILL)
    dies.communicate()
    before: list[str] = []
    while before != (now := archives(place)):  # its last request may still be on its way
        before = now
        time.sleep(2)
    assert 0 < len(before) < 30
    assert sorted([*before, *(one.archive for one in watch(place))]) == expected
    assert archives(place) == expected


def copy(prefect: dict[str, str], place: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", COPY, f"{place}/in", f"{place}/out"],
        env=os.environ | prefect,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


@pytest.mark.parametrize("kind", ["place", "bucket"])
def test_where_prefect_has_forgotten_the_output_remembers(
    kind: str, request: pytest.FixtureRequest
) -> None:
    place = request.getfixturevalue(kind)
    put(place, "begun.zip")
    other = put(place, "waiting.zip")
    if kind == "bucket":
        time.sleep(1)
    outputs = {one.archive: one.output for one in watch(place)}
    for run in runs(place):
        if run.parameters["archive"] != other:
            begin(run)
    forget(place)
    (again,) = watch(place)  # nothing came of its run, so it is not done
    assert (again.archive, again.output) == (other, outputs[other])


def test_a_growing_archive_waits_until_it_has_settled(place: str) -> None:
    grows = Path(put(place, "grows.zip"))
    done = threading.Event()

    def write() -> None:
        while not done.wait(0.2):
            with grows.open("ab") as file:
                file.write(b"more")
            os.utime(grows, (OLD, OLD))  # its time alone would not tell

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert watch(place) == []
    finally:
        done.set()
        writer.join()
    os.utime(grows)
    assert watch(place, settle_seconds=60) == []
    os.utime(grows, (time.time() + 60, time.time() + 60))
    assert watch(place) == []
    assert runs(place) == []
    os.utime(grows, (time.time() - 61, time.time() - 61))
    (started,) = watch(place, settle_seconds=60)
    assert started.archive == str(grows)


def test_another_content_is_another_batch(place: str) -> None:
    put(place, "photos.zip")
    (old,) = watch(place)
    put(place, "photos.zip", b"PK, and more")
    (new,) = watch(place)
    assert new.archive == old.archive
    assert new.output != old.output
    assert len(runs(place)) == 2


@pytest.mark.parametrize("kind", ["place", "bucket"])
def test_a_folder_has_one_batch_that_is_extended(kind: str, request: pytest.FixtureRequest) -> None:
    place = request.getfixturevalue(kind)

    def settled(*names: str) -> list[Started]:
        for name in names:
            put(place, name, astronaut_jpeg(128))
        for folder in ("in/class", "in/class/b") if kind == "place" else ():
            os.utime(f"{place}/{folder}", (OLD, OLD))
        time.sleep(1 if kind == "bucket" else 0)
        return watch(place, folders=True)

    def crop_it(run: FlowRun) -> Summary:
        """What a worker does with it."""
        settings = CropSettings.model_validate(run.parameters["settings"])
        return crop(run.parameters["archive"], run.parameters["output"], settings)

    (first,) = settled("class/a.jpg", "class/b/c.jpg")
    assert first.archive == f"{place}/in/class/"
    assert settled() == []
    (run,) = runs(place)
    assert crop_it(run).members == 2

    assert settled("class/b/b.jpg") == []  # until its batch is over
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(run.id, Completed(), force=True)
    (second,) = settled()
    assert second.output == first.output
    (now,) = (one for one in runs(place) if one.id == second.flow_run_id)
    summary = crop_it(now)
    assert (summary.members, summary.resumed, summary.cropped) == (3, 2, 3)
    assert settled() == []


def test_one_run_starts_no_more_than_it_may_and_the_next_goes_on(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.inbox.MOST_STARTED", 12)
    expected = sorted(put(place, f"{number:02}.zip") for number in range(15))
    assert len(watch(place)) == 12
    assert len(watch(place)) == 3
    assert watch(place) == []
    assert archives(place) == expected


def test_the_run_shows_what_it_has_started_and_what_it_waits_for(place: str) -> None:
    put(place, "photos.zip")
    put(place, "empty.zip", b"")
    run: State[Any] = watch_inbox(
        f"{place}/in", f"{place}/out", settle_seconds=0, return_state=True
    )
    (started,) = run.result()
    (table,) = artifacts(run)
    assert table.key == "inbox"
    assert json.loads(str(table.data)) == [
        {"Archive": f"`{started.archive}`", "State": f"started: {started.flow_run_id}"},
        {"Archive": f"`{place}/in/empty.zip`", "State": "`it is empty`"},
    ]
    Path(f"{place}/in/empty.zip").unlink()
    quiet: State[Any] = watch_inbox(
        f"{place}/in", f"{place}/out", settle_seconds=0, return_state=True
    )
    assert (quiet.result(), artifacts(quiet)) == ([], [])


def test_what_cannot_be_started_is_said_in_a_line(place: str) -> None:
    put(place, "photos.zip")
    with pytest.raises(StartError, match="no deployment crop-archive/none") as caught:
        watch(place, deployment="crop-archive/none")
    assert "\n" not in str(caught.value)
    # this one takes no such parameters
    with pytest.raises(StartError, match=f"does not start a batch for {place}/in/photos.zip"):
        watch(place, deployment="crop-shard/process")
    assert runs(place) == []
    assert len(watch(place, deployment="crop-archive/docker")) == 1


def test_an_inbox_that_cannot_be_listed_ends_the_run(place: str) -> None:
    with pytest.raises(ArchiveError, match=f"cannot list {place}/in: not found"):
        watch(place)
    with pytest.raises(ArchiveError, match="a web server has no folders"):
        watch_inbox("http://127.0.0.1:9/in", f"{place}/out")
    put(place, "photos.zip")
    with pytest.raises(OutputError, match="taken for new archives"):
        watch_inbox(place, f"{place}/out")
    with pytest.raises(OutputError, match="cannot be written to"):
        watch_inbox(f"{place}/in", "http://127.0.0.1:9/out")
    assert runs(place) == []

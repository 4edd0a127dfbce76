"""What is old is shown, and removed only when told to, on a real server and in real storage."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import ArtifactCreate, LogCreate
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    FlowRunFilter,
    FlowRunFilterEndTime,
    FlowRunFilterId,
    LogFilter,
    LogFilterFlowRunId,
    TaskRunFilter,
    TaskRunFilterFlowRunId,
)
from prefect.client.schemas.objects import FlowRun, State
from prefect.states import (
    Cancelled,
    Completed,
    Crashed,
    Failed,
    Paused,
    Running,
    Scheduled,
    Suspended,
)

from flows.crop_archive import crop_archive
from intake.cli.console import DONE_WITH_FAILURES
from intake.cli.main import main
from intake.control import cleanup
from intake.control.oldruns import FLOWS
from intake.http.uploads import Upload
from storage.errors import OutputError
from storage.fs.location import resolve
from storage.mark import MARK, check_marked, mark
from storage.sweep import Shelf
from tests.intake.runs import make_batch, make_run, make_shard, put
from tests.intake.web import serving
from tests.services import S3
from tests.workers import wait

pytestmark = [pytest.mark.timeout(650), pytest.mark.service, pytest.mark.usefixtures("deployed")]

Rows = list[dict[str, Any]]
Sweep = Callable[..., tuple[int, Rows]]
DAY = 86_400


def ago(days: float) -> datetime:
    return datetime.now(UTC) - timedelta(days=days)


@pytest.fixture
def client(deployed: dict[str, str]) -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as client:
        yield client


@pytest.fixture
def sweep(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Sweep:
    """Run the command with --json; give its exit code and its objects."""
    monkeypatch.delenv("FACECROP_HTTP_STORE", raising=False)

    def run(*arguments: object) -> tuple[int, Rows]:
        capsys.readouterr()
        code = main(["cleanup", "--json", *map(str, arguments)])
        return code, [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    return run


@pytest.fixture(autouse=True)
def nothing_old(client: SyncPrefectClient, sweep: Sweep) -> None:
    """The server is used by other tests, too; what is old is of the test that runs."""
    old = FlowRunFilter(end_time=FlowRunFilterEndTime(before_=ago(0.5)))
    if client.count_flow_runs(flow_run_filter=old):
        assert sweep("--older-than", 0.5, "--yes")[0] == 0


def there(client: SyncPrefectClient, *runs: FlowRun) -> list[bool]:
    found = client.read_flow_runs(
        flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run.id for run in runs]))
    )
    return [run.id in {one.id for one in found} for run in runs]


def counts(rows: Rows) -> dict[str, int]:
    return {row["runs_of"]: row["count"] for row in rows if "runs_of" in row}


def places(rows: Rows) -> dict[str, str]:
    return {row["place"]: row["why"] for row in rows if "place" in row}


# Runs


def keep_something_of(client: SyncPrefectClient, run: FlowRun) -> None:
    """Give a run an artifact with a key and one without, and a log."""
    for key in ("batch-summary", None):
        made = ArtifactCreate(key=key, type="markdown", data="x", flow_run_id=run.id)
        client.create_artifact(made)
    line = LogCreate(
        name="prefect.flow_runs", level=20, message="x", timestamp=ago(40), flow_run_id=run.id
    )
    client.create_logs([line])


def left_of(client: SyncPrefectClient, run: FlowRun) -> tuple[int, int, int]:
    """Artifacts, task runs and log lines of a run."""
    artifacts = client.read_artifacts(
        artifact_filter=ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run.id]))
    )
    tasks = client.read_task_runs(
        task_run_filter=TaskRunFilter(flow_run_id=TaskRunFilterFlowRunId(any_=[run.id]))
    )
    logs = client.read_logs(log_filter=LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run.id])))
    return len(artifacts), len(tasks), len(logs)


def test_runs_go_with_all_that_belongs_to_them_and_only_when_told_to(
    client: SyncPrefectClient, sweep: Sweep
) -> None:
    batch = make_batch(client, Completed(), days=40)
    ended: list[State[Any]] = [Completed(), Cancelled()]
    shards = [make_shard(client, batch, one, 40) for one in ended]
    parameters = {
        "retry-failed": {"output": "/nowhere"},
        "recrop": {"batch": "/nowhere", "output": "/anywhere"},
        "watch-inbox": {},
        "notify": {"batch": str(batch.id)},
    }
    others = [
        make_run(client, f"{flow}/process", Failed(), days=40, **given)
        for flow, given in parameters.items()
    ]
    old = [batch, *shards, *others]
    for run in old:
        keep_something_of(client, run)
    wait(lambda: all(left_of(client, run)[2] == 1 for run in old), 30)
    assert left_of(client, batch) == (2, 2, 1)

    expected = {
        "crop-archive": 1,
        "crop-shard": 2,
        "retry-failed": 1,
        "recrop": 1,
        "watch-inbox": 1,
        "notify": 1,
    }
    code, rows = sweep()
    assert (code, counts(rows)) == (0, expected)
    assert rows[-1] == {"removed": False, "runs": 7, "places": 0, "bytes": 0}
    assert all(there(client, *old))

    code, rows = sweep("--yes")
    assert (code, rows[-1]) == (0, {"removed": True, "runs": 7, "places": 0, "bytes": 0})
    assert not any(there(client, *old))
    wait(lambda: all(left_of(client, run) == (0, 0, 0) for run in old), 30)
    assert sweep()[1] == [{"removed": False, "runs": 0, "places": 0, "bytes": 0}]


@flow
def stranger() -> None:
    """Of somebody else's."""


def test_what_is_young_or_not_over_or_not_ours_stays(
    client: SyncPrefectClient, sweep: Sweep
) -> None:
    unfinished: list[State[Any]] = [
        Running(),
        Scheduled(),
        Suspended(),
        Paused(),
    ]
    kept = [make_batch(client, one) for one in unfinished]
    kept.append(make_batch(client, Completed(), days=29.9))
    kept.append(make_batch(client, Crashed(), days=1))
    kept.append(put(client, client.create_flow_run(stranger), Completed(), days=400))

    # a batch stays with all of its shards as long as one of them is at work
    half = make_batch(client, Failed(), days=400)
    done = make_shard(client, half, Completed(), 400)
    works = make_shard(client, half, Running())
    whole = make_batch(client, Failed(), days=400)
    its_own = make_shard(client, whole, Crashed(), 400)
    code, rows = sweep("--yes")
    assert (code, counts(rows)) == (0, {"crop-archive": 1, "crop-shard": 1})
    assert there(client, *kept, half, done, works, whole, its_own) == [True] * 10 + [False] * 2

    put(client, works, Completed(), days=1)  # a shard's own age does not count
    assert sweep("--yes")[1][-1]["runs"] == 3
    assert there(client, *kept, half, done, works) == [True] * 7 + [False] * 3


def test_a_shard_whose_batch_is_gone_goes_by_its_own_age(
    client: SyncPrefectClient, sweep: Sweep
) -> None:
    batch = make_batch(client, Completed(), days=40)
    shards = [make_shard(client, batch, Completed(), days) for days in (40, 1)]
    client.delete_flow_run(batch.id)  # as somebody may in the UI
    assert counts(sweep("--yes")[1]) == {"crop-shard": 1}
    assert there(client, *shards) == [False, True]


def test_more_runs_than_a_page_go_and_what_stays_is_passed_over(
    client: SyncPrefectClient, sweep: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("intake.control.oldruns._AT_ONCE", 5)

    def inbox(state: State[Any]) -> FlowRun:
        return make_batch(client, state, key=f"inbox-{uuid4().hex}", days=40)

    kept = [inbox(Failed()) for _ in range(7)]
    completed = inbox(Completed())
    gone = [make_batch(client, Failed(), days=40) for _ in range(12)]
    looks = [make_run(client, "watch-inbox/process", Failed(), days=40) for _ in range(11)]
    expected = {"crop-archive": 13, "watch-inbox": 11}
    assert counts(sweep()[1]) == expected
    code, rows = sweep("--yes")
    assert (code, rows[-1]["runs"]) == (0, 24)
    # without these the inbox would start their archives again; its output tells of the completed
    assert all(there(client, *kept))
    assert not any(there(client, completed, *gone, *looks))


def run_by_the_command(client: SyncPrefectClient, sample: Path, folder: Path) -> FlowRun:
    """A run without a deployment."""
    before = {run.id for run in client.read_flow_runs()}
    assert (
        main(["crop", str(sample), "--output", str(folder / "out"), "--prefect"])
        == DONE_WITH_FAILURES
    )
    [run] = [
        run for run in client.read_flow_runs() if run.id not in before and run.deployment_id is None
    ]
    return put(client, run, None, days=40)


def test_runs_of_flows_that_are_only_called_the_same_stay(
    client: SyncPrefectClient, sweep: Sweep, sample: Path, tmp_path: Path
) -> None:
    def deployed_as(name: str, entrypoint: str) -> FlowRun:
        number = client.create_deployment(
            client.create_flow_from_name(name), name=uuid4().hex, entrypoint=entrypoint
        )
        made.append(number)
        return put(client, client.create_flow_run_from_deployment(number), Failed(), days=40)

    made: list[UUID] = []
    theirs: list[FlowRun] = []
    try:
        for name in ("notify", "watch-inbox", "crop-archive", "crop-shard", "retry-failed"):
            run = client.create_flow_run(flow(name=name)(stranger.fn))
            theirs.append(put(client, run, Failed(), days=40))
        theirs.append(deployed_as("notify", "tools/notify.py:main"))
        theirs.append(deployed_as("crop-archive", "wheat/crop_archive.py:crop_archive"))
        ours = [
            deployed_as("notify", "/app/flows/notify.py:notify"),
            deployed_as("crop-archive", "flows.crop_archive.crop_archive"),
            run_by_the_command(client, sample, tmp_path),
        ]
        assert counts(sweep()[1]) == {"notify": 1, "crop-archive": 2}
        assert sweep("--yes")[1][-1]["runs"] == 3
        assert there(client, *theirs, *ours) == [True] * 7 + [False] * 3
    finally:
        for run in theirs:
            client.delete_flow_run(run.id)
        for number in made:
            client.delete_deployment(number)


def test_how_old_is_old_can_be_said(client: SyncPrefectClient, sweep: Sweep) -> None:
    runs = [make_batch(client, Completed(), days=days) for days in (2, 6, 8)]
    assert counts(sweep("--older-than", 7)[1]) == {"crop-archive": 1}
    sweep("--older-than", 7, "--yes")
    assert there(client, *runs) == [True, True, False]
    sweep("--older-than", 0.5, "--yes")
    assert there(client, *runs) == [False] * 3
    for days in ("0", "-1", "nan", "soon", "9999"):
        with pytest.raises(SystemExit) as stopped:
            main(["cleanup", "--older-than", days])
        assert stopped.value.code == 2


def test_the_flows_are_those_that_are_deployed(client: SyncPrefectClient) -> None:
    names = {client.read_flow(one.flow_id).name for one in client.read_deployments()}
    assert set(FLOWS) == {name for name in names if name.split("-")[0] != "sleeping"}


# Uploads


@pytest.fixture(params=["local", "s3"])
def store(request: pytest.FixtureRequest, s3: S3, tmp_path: Path) -> str:
    if request.param == "local":
        (tmp_path / "store").mkdir()
        return str(tmp_path / "store")
    return f"s3://{s3.bucket}/{uuid4().hex}"


def upload(store: str, *names: str, days: float = 0) -> str:
    """An upload as the service leaves it, and its id; only a local one can be made old."""

    async def send() -> str:
        async with Upload(store, 1 << 30) as sent:
            for name in names or ("photos.zip",):
                await sent.begin(name)
                await sent.write(b"x" * 1000)
                await sent.end()
            sent.keep()
            return sent.id

    mark(store)
    number = asyncio.run(send())
    place = resolve(f"{store}/uploads/{number}")
    if place.is_local:
        make_old(Path(place.path), days)
    return number


def make_old(folder: Path, days: float) -> None:
    written = time.time() - days * DAY
    for path in (*folder.iterdir(), folder):
        os.utime(path, (written, written), follow_symlinks=False)


def put_file(store: str, name: str, data: bytes = b"mine") -> None:
    """What somebody else puts into a store."""
    place = resolve(f"{store}/{name}")
    place.fs.makedirs(place.path.rpartition("/")[0], exist_ok=True)
    place.fs.pipe_file(place.path, data)


def killed_upload(store: str, name: str, mib: int) -> str:
    """What a service leaves that is killed in the middle of an upload; give its id."""
    mark(store)
    code = f"""
import asyncio, os, signal
from intake.http.uploads import Upload
async def send():
    sent = Upload({store!r}, 1 << 30)
    await sent.begin({name!r})
    for _ in range({mib}):
        await sent.write(os.urandom(1 << 20))
    await sent._written_out()
    print(sent.id, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(send())
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    return ended.stdout.strip()


def stored(store: str) -> set[str]:
    place = resolve(store)
    return {name.removeprefix(f"{place.path}/") for name in place.fs.find(place.path)}


def later(client: SyncPrefectClient, store: str, days: float) -> dict[str, str]:
    """What would go so many days from now, with why; for stores whose clock cannot be set."""
    return {old.place: old.why for old in removable(client, store, time.time() + days * DAY)}


def removable(client: SyncPrefectClient, store: str, now: float) -> list[cleanup.Old]:
    found = cleanup.old_uploads(client, store, cleanup.busy_names(client), 30, now, print)
    return [one for one in found if isinstance(one, cleanup.Old)]


def left(rows: Rows) -> dict[str, str]:
    return {row["left"]: row["why"] for row in rows if "left" in row}


def unfinished(store: str) -> list[str]:
    """Keys of the objects in a store that were begun and not completed."""
    place = resolve(store)
    bucket, _, key = place.path.partition("/")
    found = place.fs.call_s3("list_multipart_uploads", Bucket=bucket, Prefix=f"{key}/")
    return [one["Key"].removeprefix(f"{key}/") for one in found.get("Uploads", [])]


def test_an_upload_goes_when_its_batch_has_ended_long_ago_or_nobody_made_one_of_it(
    client: SyncPrefectClient, store: str, sweep: Sweep
) -> None:
    orphan, ended, running, retried = (upload(store) for _ in range(4))
    for other in ("uploads/not-an-id/photos.zip", "elsewhere/photos.zip", f"uploads/{'0' * 32}"):
        put_file(store, other)
    where = f"{store}/uploads"
    make_batch(client, Failed(), archive=f"{where}/{ended}/photos.zip")
    make_batch(client, Suspended(), archive=f"{where}/{running}/photos.zip")
    retry = make_batch(client, Completed(), archive=f"{where}/{retried}/photos.zip")
    output = retry.parameters["output"]
    again = make_run(client, "retry-failed/process", Running(), output=output)
    before = stored(store)

    assert later(client, store, 0.9) == {}
    assert later(client, store, 1.1) == {f"uploads/{orphan}": "no batch uses it"}
    why = {f"uploads/{orphan}": "no batch uses it", f"uploads/{ended}": "its batch has ended"}
    assert later(client, store, 31) == why
    put(client, again, Completed())
    cut = make_run(client, "recrop/process", Running(), batch=output, output="/elsewhere")
    assert later(client, store, 31) == why
    put(client, cut, Completed())
    assert later(client, store, 31) == {**why, f"uploads/{retried}": "its batch has ended"}
    assert stored(store) == before

    # what is young is left even then, but for those whose batch has ended before
    code, rows = sweep("--store", store, "--older-than", 1e-9, "--yes")
    assert (code, set(places(rows))) == (0, {f"uploads/{one}" for one in (ended, retried)})
    assert rows[-1]["bytes"] == 2000
    gone = {f"uploads/{one}/photos.zip" for one in (ended, retried)}
    records = {f"upload-records/{one}.jsonl" for one in (ended, retried)}
    assert stored(store) == before - gone - records
    assert left(rows) == {"uploads/not-an-id": cleanup.NO_RECORD}


def test_an_upload_that_was_cut_off_goes_after_a_day(
    client: SyncPrefectClient, store: str, sweep: Sweep
) -> None:
    number = killed_upload(store, "photos.zip", 20)
    place = f"uploads/{number}"
    local = resolve(store).is_local
    held = stored(store) - {MARK, f"upload-records/{number}.jsonl"} if local else unfinished(store)
    assert list(held) == [f"{place}/.photos.zip.part" if local else f"{place}/photos.zip"]
    assert later(client, store, 0.9) == {}
    assert later(client, store, 1.1) == {place: "no batch uses it"}
    (one,) = removable(client, store, time.time() + 1.1 * DAY)
    size, stay = one.remove()
    assert stay == []
    assert (size > 10 << 20) is local
    assert stored(store) == {MARK}
    assert local or unfinished(store) == []


def test_an_unfinished_object_is_as_old_as_its_last_part(client: SyncPrefectClient, s3: S3) -> None:
    store = f"s3://{s3.bucket}/{uuid4().hex}"
    number = killed_upload(store, "photos.zip", 1)  # on record, and no part sent yet
    place = resolve(f"{store}/uploads/{number}/photos.zip")
    bucket, _, key = place.path.partition("/")
    at = {"Bucket": bucket, "Key": key}
    at["UploadId"] = place.fs.call_s3("create_multipart_upload", **at)["UploadId"]
    shelf = Shelf(store, "uploads")
    (none,) = shelf.cut_off()
    assert shelf.last_part(none) == none.begun
    time.sleep(3)
    for part in (1, 2):
        place.fs.call_s3("upload_part", **at, PartNumber=part, Body=b"x" * (5 << 20))
    (some,) = shelf.cut_off()
    last = shelf.last_part(some)
    assert last >= some.begun + 2
    assert removable(client, store, last + DAY - 1) == []  # a day after its beginning
    (old,) = removable(client, store, last + DAY + 1)
    old.remove()
    assert unfinished(store) == []


def test_an_unfinished_object_of_another_program_stays(
    client: SyncPrefectClient, s3: S3, sweep: Sweep
) -> None:
    store = f"s3://{s3.bucket}/{uuid4().hex}"
    ours, theirs = killed_upload(store, "photos.zip", 20), uuid4().hex
    call, begun = resolve(store).fs.call_s3, []
    for name in (f"{ours}/another.zip", f"{theirs}/photos.zip"):
        bucket, _, key = resolve(f"{store}/uploads/{name}").path.partition("/")
        begun.append(call("create_multipart_upload", Bucket=bucket, Key=key))
    (old,) = removable(client, store, time.time() + 9 * DAY)
    old.remove()
    expected = {f"uploads/{ours}/another.zip", f"uploads/{theirs}/photos.zip"}
    assert set(unfinished(store)) == expected
    assert f"uploads/{theirs}" in left(sweep("--store", store, "--yes")[1])
    assert set(unfinished(store)) == expected
    for one in begun:  # other tests look whether any is left
        at = {name: one[name] for name in ("Bucket", "Key", "UploadId")}
        call("abort_multipart_upload", **at)


def test_nothing_goes_from_a_store_that_is_not_marked(
    client: SyncPrefectClient, store: str, archive: Path, sweep: Sweep
) -> None:
    number = upload(store, days=9)
    put_file(store, f"uploads/{uuid4().hex}/photos.zip")
    old_batch(store, archive)
    run = make_batch(client, Completed(), days=40)
    place = resolve(f"{store}/{MARK}")
    place.fs.rm_file(place.path)
    no_id = b'{"format": "facecrop-store/1"}'
    for data in (None, b"", b"{", b"[]", b'{"format": "another"}', no_id, b" " * 9999):
        if data is not None:
            put_file(store, MARK, data)
        before = stored(store)
        code, (row,) = sweep("--store", store, "--batches", "--older-than", 1e-9, "--yes")
        assert code == 1
        assert "`facecrop serve`" in row["error"]
        assert stored(store) == before
        assert there(client, run) == [True]
    place.fs.rm_file(place.path)
    mark(store)
    assert f"uploads/{number}" in later(client, store, 10)


def test_a_mark_takes_no_file_of_another(store: str) -> None:
    put_file(store, MARK, b"mine")
    with pytest.raises(OutputError, match="is not Facecrop's mark"):
        mark(store)
    place = resolve(f"{store}/{MARK}")
    assert place.fs.cat_file(place.path) == b"mine"
    place.fs.rm_file(place.path)
    with ThreadPoolExecutor(8) as services:
        list(services.map(mark, [store] * 8))
    first = place.fs.cat_file(place.path)
    mark(store)
    assert place.fs.cat_file(place.path) == first
    assert stored(store) == {MARK}
    check_marked(store)


def test_the_service_marks_its_store(
    deployed: dict[str, str], s3: S3, store: str, tmp_path: Path, sweep: Sweep
) -> None:
    with pytest.raises(OutputError, match="nothing is removed"):
        check_marked(store)
    with serving(tmp_path, store, {**deployed, **s3.environment}):
        check_marked(store)
    assert sweep("--store", store)[0] == 0


def test_an_upload_of_another_program_stays_whoever_uses_it(
    client: SyncPrefectClient, store: str, sweep: Sweep
) -> None:
    ours = upload(store, days=40)
    theirs, used = uuid4().hex, uuid4().hex
    for number in (theirs, used):
        put_file(store, f"uploads/{number}/photos.zip")
        if resolve(store).is_local:
            make_old(Path(store, "uploads", number), 400)
    for number in (ours, used):
        make_batch(client, Completed(), archive=f"{store}/uploads/{number}/photos.zip")
    before = stored(store)
    code, rows = sweep("--store", store, "--older-than", 1e-9, "--yes")
    assert (code, set(places(rows))) == (0, {f"uploads/{ours}"})
    assert left(rows) == {f"uploads/{one}": cleanup.NO_RECORD for one in (theirs, used)}
    gone = {f"uploads/{ours}/photos.zip", f"upload-records/{ours}.jsonl"}
    assert stored(store) == before - gone


def test_what_somebody_puts_into_an_upload_stays_with_its_folder(
    client: SyncPrefectClient, store: str, sweep: Sweep
) -> None:
    names = [f"{number}.jpg" for number in range(11)]
    number = upload(store, *names, days=40)
    put_file(store, f"uploads/{number}/mine.jpg")
    put_file(store, f"uploads/{number}/folder/0.jpg")
    make_batch(client, Completed(), archive=f"{store}/uploads/{number}/")
    code, rows = sweep("--store", store, "--older-than", 1e-9, "--yes")
    assert (code, set(places(rows)), rows[-1]["bytes"]) == (0, {f"uploads/{number}"}, 11_000)
    mine = {f"uploads/{number}/mine.jpg", f"uploads/{number}/folder/0.jpg"}
    assert stored(store) == {MARK, *mine}
    expected = {f"uploads/{number}/mine.jpg", f"uploads/{number}/folder/"}
    assert left(rows).keys() == expected
    assert left(sweep("--store", store, "--yes")[1]) == {f"uploads/{number}": cleanup.NO_RECORD}
    assert stored(store) == {MARK, *mine}


def test_what_has_changed_since_it_was_listed_stays(client: SyncPrefectClient, store: str) -> None:
    number = upload(store, "a.jpg", "b.jpg", days=40)
    (old,) = removable(client, store, time.time() + 2 * DAY)
    put_file(store, f"uploads/{number}/a.jpg", b"somebody's")
    assert old.remove() == (1000, ["a.jpg"])
    assert f"uploads/{number}/a.jpg" in stored(store)
    assert f"uploads/{number}/b.jpg" not in stored(store)


def test_a_batch_that_is_taken_up_again_meanwhile_keeps_its_upload(
    client: SyncPrefectClient, store: str
) -> None:
    number = upload(store, days=40)
    old = removable(client, store, time.time() + 40 * DAY)
    assert len(old) == 1
    make_batch(client, Running(), archive=f"{store}/uploads/{number}/photos.zip")
    before = stored(store)
    assert cleanup.remove_old(client, old) == ([], 0, [])
    assert stored(store) == before


def test_links_are_not_followed(client: SyncPrefectClient, sweep: Sweep, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious.jpg").write_bytes(b"x")
    store = tmp_path / "store"
    number, replaced, moved = (upload(str(store), days=9) for _ in range(3))
    folder = store / "uploads" / number
    linked = store / "uploads" / replaced / "photos.zip"
    linked.unlink()
    linked.symlink_to(outside / "precious.jpg")
    (outside / "photos.zip").write_bytes(b"x")
    shutil.rmtree(store / "uploads" / moved)
    (store / "uploads" / moved).symlink_to(outside)
    (store / "uploads" / uuid4().hex).symlink_to(outside)
    for path in (folder, outside, *outside.iterdir(), store / "upload-records" / f"{moved}.jsonl"):
        os.utime(path, (1, 1))
    make_old(linked.parent, 9)
    (tmp_path / "named").symlink_to(store)  # whoever names it means what it leads to
    assert sweep("--store", tmp_path / "named", "--yes")[0] == 0
    assert not folder.exists()
    assert linked.is_symlink()
    assert {path.name for path in outside.iterdir()} == {"precious.jpg", "photos.zip"}

    shutil.rmtree(store / "uploads")
    upload(str(outside), days=9)
    (store / "uploads").symlink_to(outside / "uploads")
    assert sweep("--store", store, "--yes") == (
        1,
        [{"error": f"{store}/uploads is a link. Name the store that it leads to."}],
    )
    assert len(list((outside / "uploads").iterdir())) == 1


def test_an_upload_of_more_objects_than_a_page_goes_and_its_neighbour_stays(s3: S3) -> None:
    store = f"s3://{s3.bucket}/{uuid4().hex}"
    place = resolve(f"{store}/uploads")
    place.fs.pipe({f"{place.path}/a/{number:04}.jpg": b"12345" for number in range(1003)})
    place.fs.pipe({f"{place.path}/ab/0.jpg": b"x"})
    shelf = Shelf(store, "uploads")
    assert shelf.names() == ["a", "ab"]
    assert shelf.size("a") == 5 * 1003
    files = shelf.files("a")
    assert len(files) == 1003
    assert all(abs(one.written - time.time()) < 600 for one in files.values())
    assert shelf.remove("a", files) == []
    assert stored(store) == {"uploads/ab/0.jpg"}


# Batches


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    folder = tmp_path / "inbox"
    folder.mkdir()
    (folder / "none.jpg").write_bytes(b"no picture")
    return folder


def old_batch(store: str, archive: Path, days: float = 40) -> str:
    """A real batch's output in a store, that says it was made so long ago; and its folder."""
    name = uuid4().hex
    crop_archive(f"{archive}/", f"{store}/batches/{name}")
    place = resolve(f"{store}/batches/{name}/batch.json")
    record = json.loads(place.fs.cat_file(place.path))
    place.fs.pipe_file(
        place.path, json.dumps({**record, "created": ago(days).isoformat()}).encode()
    )
    return name


def test_the_output_of_a_finished_batch_goes_if_that_is_asked_for(
    client: SyncPrefectClient,
    store: str,
    archive: Path,
    sweep: Sweep,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mark(store)
    old, young, cut, busy = (old_batch(store, archive, days) for days in (40, 20, 40, 40))
    fs, root = resolve(store).fs, resolve(store).path
    fs.rm_file(f"{root}/batches/{cut}/manifest.parquet")
    make_batch(client, Running(), output=f"s3://the-same-by-another-name/batches/{busy}/")
    # none of these is a batch's folder
    fs.makedirs(f"{root}/batches/damaged", exist_ok=True)
    fs.pipe_file(f"{root}/batches/damaged/batch.json", b"{")
    fs.pipe_file(f"{root}/batches/damaged/manifest.parquet", b"x")
    fs.makedirs(f"{root}/batches/other", exist_ok=True)
    fs.pipe_file(f"{root}/batches/other/batch.json", b'{"created": "2001-01-01"}')
    fs.pipe_file(f"{root}/batches/loose.txt", b"x")
    before = stored(store)

    assert places(sweep("--store", store, "--yes")[1]) == {}
    assert stored(store) == before
    monkeypatch.setenv("FACECROP_HTTP_STORE", store)
    code, rows = sweep("--batches")
    assert (code, places(rows)) == (0, {f"batches/{old}": "finished"})
    assert rows[-1]["bytes"] > 1000
    assert stored(store) == before
    code, rows = sweep("--batches", "--yes")
    assert (code, places(rows)) == (0, {f"batches/{old}": "finished"})
    stay = {name for name in before if not name.startswith(f"batches/{old}/")}
    assert stored(store) == stay
    assert young in str(stay)
    assert left(rows).keys() == {"batches/damaged", "batches/other"}
    assert fs.exists(root)


def test_what_somebody_puts_beside_a_batch_stays(
    client: SyncPrefectClient, store: str, archive: Path, sweep: Sweep
) -> None:
    mark(store)
    old = f"batches/{old_batch(store, archive)}"
    mine = {f"{old}/notes.txt", f"{old}/crops/mine.jpg", f"{old}/album/0.jpg"}
    for name in mine:
        put_file(store, name)
    size = Shelf(store, "batches").size(old.partition("/")[2])
    rows = sweep("--store", store, "--batches", "--yes")[1]
    assert places(rows) == {old: "finished"}
    assert stored(store) == {MARK, *mine}
    assert rows[-1]["bytes"] == size - 3 * len(b"mine")
    assert {f"{old}/notes.txt", f"{old}/crops/mine.jpg"} <= left(rows).keys()
    assert left(sweep("--store", store, "--batches", "--yes")[1]) == {old: "no batch of Facecrop's"}
    assert stored(store) == {MARK, *mine}


def test_a_batch_that_is_begun_anew_since_it_was_listed_stays(
    client: SyncPrefectClient, store: str, archive: Path
) -> None:
    name = old_batch(store, archive)
    shelf = Shelf(store, "batches")
    (old,) = cleanup.old_batches(client, shelf, set(), 30)
    assert isinstance(old, cleanup.Old)
    place = resolve(f"{store}/batches/{name}/batch.json")
    record = json.loads(place.fs.cat_file(place.path))
    record["created"] = ago(0).isoformat()
    place.fs.pipe_file(place.path, json.dumps(record).encode())
    before = stored(store)
    assert cleanup.remove_old(client, [old])[:2] == ([], 0)
    assert stored(store) == before


def test_a_batch_stays_while_the_inbox_would_take_its_archive_for_a_new_one(
    client: SyncPrefectClient, archive: Path, sweep: Sweep, tmp_path: Path
) -> None:
    store = str(tmp_path / "store")
    mark(store)
    name = old_batch(store, archive)
    watching = client.create_deployment(
        client.create_flow_from_name("watch-inbox"),
        name=uuid4().hex,
        parameters={"inbox": str(tmp_path)},
    )
    try:
        assert places(sweep("--store", store, "--batches")[1]) == {}
        archive.rename(tmp_path.parent / uuid4().hex)
        assert places(sweep("--store", store, "--batches")[1]) == {f"batches/{name}": "finished"}
    finally:
        client.delete_deployment(watching)


# The command


def test_it_shows_a_table_and_says_how_much_it_is(
    client: SyncPrefectClient, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_batch(client, Completed(), days=40)
    number = upload(str(tmp_path), days=3)
    capsys.readouterr()
    assert main(["cleanup", "--store", str(tmp_path)]) == 0
    heading, runs, place, end = capsys.readouterr().out.splitlines()
    assert heading.split() == ["what", "how", "much", "age", "why"]
    assert runs.split() == ["runs", "of", "crop-archive", "1", "over", "30", "days", "old"]
    assert place.split()[:3] == [f"uploads/{number}", "1.0", "kB"]
    assert place.endswith("3 days  no batch uses it")
    assert end == "1 runs and 1 places in the store (1.0 kB) may go; --yes removes them"
    assert main(["cleanup", "--store", str(tmp_path), "--yes"]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[-1] == "removed 1 runs and 1 places in the store (1.0 kB)"
    assert main(["cleanup", "--store", str(tmp_path)]) == 0
    assert capsys.readouterr().out == "nothing to remove\n"


def test_a_store_that_is_not_there_is_one_line(
    s3: S3, tmp_path: Path, sweep: Sweep, capsys: pytest.CaptureFixture[str]
) -> None:
    absent = f"{tmp_path}/absent"
    code, (row,) = sweep("--store", absent)
    assert (code, row["error"]) == (
        1,
        f"{absent} is no folder. Name the store that holds uploads/.",
    )
    code, (row,) = sweep("--store", f"s3://{uuid4().hex}/x")
    assert code == 1
    assert "not found; check the spelling" in row["error"]
    code, (row,) = sweep("--store", f"s3://{s3.bucket}/*")
    assert (code, "Name an output without them." in row["error"]) == (1, True)
    assert main(["cleanup", "--batches"]) == 2
    assert "--store or FACECROP_HTTP_STORE" in capsys.readouterr().err

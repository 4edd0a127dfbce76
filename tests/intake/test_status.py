"""What is told of one batch, and done to it, on a real Prefect server."""

import csv
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import ArtifactUpdate
from prefect.client.schemas.objects import State
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import (
    AwaitingRetry,
    Cancelled,
    Cancelling,
    Completed,
    Failed,
    Pending,
    Running,
    Scheduled,
    Suspended,
)

from flows.crop_archive import crop_archive
from intake.cli.bar import figures
from intake.cli.main import main
from pipeline.progress import Snapshot
from pipeline.settings import CropSettings
from storage.output.counts import Counts
from tasks.reporting.counts import to_rows
from tests.flows.batches import result
from tests.intake.runs import make_batch, make_shard, put, report
from tests.services import QuietHandler, web_server
from tests.workers import state, states, wait

pytestmark = [pytest.mark.service, pytest.mark.usefixtures("deployed")]
slow = pytest.mark.slow

TOMORROW = datetime.now(UTC) + timedelta(days=1)
HALF = Snapshot(
    Counts(
        members=412, cropped=300, no_face=109, failed=3, faces=398, errors=Counter(crc_mismatch=3)
    ),
    total=800,
    share=0.515,
    images_per_second=35.2,
    mean_images_per_second=30.0,
    seconds_left=71.0,
)
HALF_TEXT = "412/800 images  398 faces  3 failed  35.2 images/s  1 min 11 s left"

Ask = Callable[..., tuple[int, str, str]]


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str]) -> Ask:
    """Run a command; give its exit code and what it wrote to standard output and error."""

    def run(*arguments: object) -> tuple[int, str, str]:
        code = main([str(argument) for argument in arguments])
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def client(deployed: dict[str, str]) -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as client:
        yield client


@pytest.fixture(scope="module")
def finished(
    deployed: dict[str, str], sample: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[UUID, Path]:
    """A batch that is done, with one failed image, and its output."""
    output = tmp_path_factory.mktemp("finished") / "out"
    settings = CropSettings.model_validate({"chunk": {"members": 20}})
    return crop(sample, output, settings), output


def crop(archive: Path, output: Path, settings: CropSettings | None = None) -> UUID:
    """Crops an archive here, and gives the run's id."""
    ended: State[Any] = crop_archive(
        str(archive), str(output), settings or CropSettings(), return_state=True
    )
    run = ended.state_details.flow_run_id
    assert ended.is_completed()
    assert run is not None
    return run


# Status


def test_a_finished_batch_is_told_as_its_manifest_has_it(
    finished: tuple[UUID, Path], sample: Path, ask: Ask
) -> None:
    batch, output = finished
    code, text, _ = ask("status", batch)
    manifest = result(str(output)).manifest
    faces = sum(row["faces"] for row in manifest)
    lines = text.splitlines()
    assert code == 3
    assert lines[0].startswith("sample.zip")
    assert lines[0].endswith(": completed")
    assert lines[1:4] == [
        f"  40/40 images  {faces} faces  1 failed",
        "  failed    truncated_image 1",
        "  skipped   not_an_image 1, system_file 1",
    ]
    assert lines[4] == f"  output    {output}"
    assert lines[5].endswith(f"/v2/runs/flow-run/{batch}")

    code, text, _ = ask("status", batch, "--json")
    told = json.loads(text)
    statuses = Counter(row["status"] for row in manifest)
    assert code == 3
    assert {name: told[name] for name in statuses} == dict(statuses)
    assert (told["id"], told["state"], told["faces"]) == (str(batch), "completed", faces)
    assert (told["archive"], told["output"]) == (str(sample), str(output))
    assert (told["members"], told["total"], told["share"]) == (40, 40, 1.0)
    assert told["errors"] == {"truncated_image": 1}
    assert told["run"].endswith(f"/v2/runs/flow-run/{batch}")


@pytest.mark.parametrize(
    ("made", "told", "code", "line"),
    [
        # far off: the server calls a run late that is 15 s behind, whose message is another
        (Scheduled(message="Preempted.", scheduled_time=TOMORROW), "queued", 0, "  Preempted."),
        (Running(), "running", 0, None),
        (Suspended(message="Paused by a user."), "paused", 0, "  Paused by a user."),
        (Cancelling(), "cancelling", 0, None),
        (Cancelled(message="Cancelled by a user."), "cancelled", 1, "  Cancelled by a user."),
        (
            Failed(message="ArchiveError: a.zip\n is gone"),
            "failed",
            1,
            "  ArchiveError: a.zip is gone",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_state_has_its_word_and_its_exit_code(
    made: State[Any], told: str, code: int, line: str | None, client: SyncPrefectClient, ask: Ask
) -> None:
    run = put(client, make_batch(client, Running()), made)
    report(client, run, HALF)
    ended, text, _ = ask("status", run.id)
    lines = text.splitlines()
    assert (ended, lines[0]) == (code, f"{run.name}: {told}")
    # how fast it is, and so the time left, is only known while it runs
    assert lines[1].strip() == (HALF_TEXT if told == "running" else HALF_TEXT[:35])
    assert line is None or line in lines
    assert "  failed    crc_mismatch 3" in lines


def test_of_an_output_that_cannot_be_read_from_here_the_runs_own_figures_are_told(
    client: SyncPrefectClient, ask: Ask
) -> None:
    run = make_batch(client, Completed())
    report(client, run, HALF)
    code, text, _ = ask("status", run.id)
    assert code == 3
    assert text.splitlines()[1].strip() == "412/412 images  398 faces  3 failed"


def test_the_bar_shows_what_the_status_and_the_run_itself_show(
    client: SyncPrefectClient, ask: Ask
) -> None:
    run = make_batch(client, Running())
    report(client, run, HALF)
    assert figures(HALF) == HALF_TEXT
    assert ask("status", run.id)[1].splitlines()[1].strip() == HALF_TEXT


@slow
def test_a_batch_is_followed_to_its_end_in_a_terminal(
    client: SyncPrefectClient, deployed: dict[str, str], tmp_path: Path
) -> None:
    run = make_batch(client, Running())
    table = report(client, run, HALF)
    screen = tmp_path / "screen"
    command = [sys.executable, "-m", "facecrop", "status", str(run.id), "--watch"]
    watching = subprocess.Popen(
        ["script", "--quiet", "--return", "--flush", "--command", " ".join(command), str(screen)],
        env=os.environ | deployed | {"COLUMNS": "120"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )

    def shown() -> str:
        text = screen.read_text(errors="replace") if screen.exists() else ""
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)  # without colours

    try:
        wait(lambda: HALF_TEXT in shown(), 60)
        more = Snapshot(Counts(members=700, faces=600, failed=3), 800, 0.875, 40.0, 31.0, 3.0)
        client.update_artifact(table, ArtifactUpdate(data=json.dumps(to_rows(more))))
        wait(lambda: figures(more) in shown(), 60)
        client.set_flow_run_state(
            run.id, Failed(message="OutputError: the disk is full"), force=True
        )
        assert watching.wait(60) == 1
    finally:
        watching.kill()
        watching.wait()
    assert "facecrop: failed: OutputError: the disk is full" in shown()
    assert "Traceback" not in shown()


@slow
def test_whoever_stops_watching_does_not_stop_the_batch(
    client: SyncPrefectClient, deployed: dict[str, str]
) -> None:
    run = make_batch(client, Running())
    watching = subprocess.Popen(
        [sys.executable, "-m", "facecrop", "status", str(run.id), "--watch"],
        env=os.environ | deployed,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert watching.stderr is not None
    line = watching.stderr.readline()  # the first comes after ten seconds
    watching.send_signal(signal.SIGINT)
    out, err = watching.communicate(timeout=60)
    assert line == f"{run.name}: running: 0 images  0 faces  0 failed\n"
    assert (watching.returncode, out) == (130, "")
    assert err.splitlines()[-1] == (
        f"facecrop: interrupted; the batch goes on: `facecrop status {run.id} --watch` follows it"
    )
    assert state(run.id).is_running()


def test_watching_a_finished_batch_ends_as_cropping_it_did(
    finished: tuple[UUID, Path], sample: Path, ask: Ask
) -> None:
    batch, output = finished
    code, text, _ = ask("status", batch, "--watch")
    assert code == 3
    assert text.startswith(f"{sample}: 38 images, ")  # and two files that are none
    assert f"failed    {output}/failed.csv (truncated_image 1)" in text
    code, text, _ = ask("status", batch, "--watch", "--json")
    assert (code, json.loads(text)["state"]) == (3, "completed")


@pytest.mark.parametrize("command", ["status", "failed", "retry", "cancel", "pause", "resume"])
def test_what_is_no_batch_is_one_line(command: str, client: SyncPrefectClient, ask: Ask) -> None:
    nobody = uuid4()
    code, out, err = ask(command, nobody)
    assert (code, out) == (1, "")
    assert err == f"facecrop: there is no batch {nobody}; see the runs in the Prefect UI\n"
    shard = make_shard(client, make_batch(client, Running()), Running())
    code, out, err = ask(command, shard.id, "--json")
    line = f"{shard.id} is a flow run, but no batch"
    assert (code, json.loads(out), err) == (1, {"error": line}, f"facecrop: {line}\n")
    with pytest.raises(SystemExit) as stopped:
        main([command, "photos.zip"])
    assert stopped.value.code == 2


def test_without_a_server_it_is_one_line(
    ask: Ask, deployed: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        code, out, err = ask("status", uuid4(), "--watch")
    assert (code, out) == (1, "")
    (line,) = err.splitlines()
    assert line.startswith("facecrop: no Prefect server answers at http://127.0.0.1:9/api; ")
    monkeypatch.delenv("PREFECT_API_URL")
    with temporary_settings(restore_defaults={PREFECT_API_URL}):
        code, out, err = ask("submit", "a.zip", "--output", "out")
    assert (code, out) == (1, "")
    assert err.startswith("facecrop: PREFECT_API_URL is not set; ")


def test_a_busy_server_is_asked_again_and_has_the_batch_once(
    ask: Ask, deployed: dict[str, str], client: SyncPrefectClient, tmp_path: Path
) -> None:
    refused: list[str] = []

    class Busy(QuietHandler):
        """Passes all on to the server, and what it first says to a new run is lost."""

        def do_GET(self) -> None:  # noqa: N802 - what http.server calls
            self._pass_on("GET")

        def do_POST(self) -> None:  # noqa: N802
            self._pass_on("POST")

        def _pass_on(self, method: str) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            kind = {"Content-Type": "application/json"}
            url = deployed["PREFECT_API_URL"].removesuffix("/api") + self.path
            answer = httpx.request(method, url, content=body, headers=kind, timeout=60)
            if self.path.endswith("/create_flow_run") and not refused:
                refused.append(answer.json()["id"])
                self.send_error(503)
                return
            self.send_response(answer.status_code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

    where = ["--output", tmp_path / "out", "--deployment", "crop-archive/process"]
    with (
        web_server(tmp_path, Busy) as address,
        temporary_settings({PREFECT_API_URL: f"{address}/api"}),
    ):
        code, out, err = ask("submit", tmp_path / "photos.zip", *where, "--json")
    assert (code, err) == (0, "")
    run = json.loads(out)["id"]
    assert refused == [run]
    client.delete_flow_run(UUID(run))


# Failed


def test_the_failed_images_are_a_table_or_csv_or_json(
    finished: tuple[UUID, Path], ask: Ask
) -> None:
    batch, output = finished
    (row,) = (row for row in result(str(output)).manifest if row["status"] == "failed")
    code, text, _ = ask("failed", batch)
    heading, line = text.splitlines()
    assert (code, heading.split()) == (0, ["member", "path", "error", "message"])
    assert line.split()[:3] == [str(row["member"]), row["path"], "truncated_image"]
    assert row["message"] in line
    code, text, _ = ask("failed", batch, "--csv")
    kept = (output / "failed.csv").read_text("utf-8-sig")
    assert (code, text) == (0, kept)
    code, text, _ = ask("failed", batch, "--json")
    names = ("member", "path", "error", "message")
    assert (code, json.loads(text)) == (0, {name: row[name] for name in names})


def test_what_has_failed_so_far_is_told_while_a_batch_runs(
    finished: tuple[UUID, Path], client: SyncPrefectClient, ask: Ask, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    run = make_batch(client, Running(), output=str(output))
    assert ask("failed", run.id) == (0, "no image has failed so far\n", "")

    shutil.copytree(finished[1], output)
    for name in ("manifest.parquet", "faces.parquet", "failed.csv"):
        (output / name).unlink()
    expected = ask("failed", finished[0], "--csv")
    assert ask("failed", run.id, "--csv") == expected
    member = int(next(csv.DictReader(io.StringIO(expected[1])))["member"])
    [part] = output.glob(f"parts/{member // 20:08d}-*")
    part.unlink()  # its chunk is not done yet
    assert ask("failed", run.id) == (0, "no image has failed so far\n", "")


def test_an_output_that_is_not_here_is_not_taken_for_one_without_failures(
    client: SyncPrefectClient, ask: Ask
) -> None:
    run = make_batch(client, Running())
    report(client, run, HALF)
    code, out, err = ask("failed", run.id)
    assert (code, out) == (1, "")
    assert err == f"facecrop: {run.parameters['output']} holds no batch: it has no batch.json.\n"


def test_of_many_failed_images_the_first_are_shown_and_all_are_csv(
    ask: Ask, deployed: dict[str, str], tmp_path: Path
) -> None:
    archive = tmp_path / "broken.zip"
    with zipfile.ZipFile(archive, "w") as target:
        for number in range(149):
            target.writestr(f"{number:03}.jpg", b"no picture")
        target.writestr("=\x1b[31mred\x07.jpg", b"no picture")
    output = tmp_path / "out"
    batch = crop(archive, output)
    code, text, _ = ask("failed", batch)
    lines = text.splitlines()
    assert (code, len(lines)) == (0, 102)
    assert lines[-1] == (
        f"these are the first 100 of 150; all are in {output}/failed.csv, "
        f"or `facecrop failed {batch} --csv`"
    )
    code, text, _ = ask("failed", batch, "--csv")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [int(row["member"]) for row in rows] == list(range(150))
    assert len(ask("failed", batch, "--json")[1].splitlines()) == 150

    # whoever reads no further ends it
    command = f"{sys.executable} -m facecrop failed {batch} --csv | head -1"
    first = subprocess.run(
        ["bash", "-c", command],
        env=os.environ | deployed,
        capture_output=True,
        text=True,
        check=True,
    )
    assert (first.stdout, first.stderr) == ("member,path,error,message\n", "")


def test_a_name_cannot_write_on_the_terminal(
    ask: Ask, deployed: dict[str, str], tmp_path: Path
) -> None:
    archive = tmp_path / "names.zip"
    with zipfile.ZipFile(archive, "w") as target:
        target.writestr("\x1b[2Jgone.jpg", b"no picture")
    batch = crop(archive, tmp_path / "out")
    code, text, _ = ask("failed", batch)
    assert code == 0
    assert "\x1b" not in text
    assert "[2Jgone.jpg" in text


# Cancel, pause, resume, retry


def test_a_batch_that_waits_is_paused_resumed_and_cancelled(
    client: SyncPrefectClient, ask: Ask
) -> None:
    run = make_batch(client, Scheduled())
    assert ask("resume", run.id) == (1, "", f"facecrop: {run.name} is not paused\n")
    assert ask("pause", run.id) == (0, f"{run.name}: paused\n", "")
    assert ask("pause", run.id) == (1, "", f"facecrop: {run.name} is paused already\n")
    code, text, _ = ask("resume", run.id, "--json")
    assert (code, json.loads(text)["state"]) == (0, "queued")
    assert ask("cancel", run.id) == (0, f"{run.name}: cancelled\n", "")
    for command in ("pause", "cancel"):
        code, _, err = ask(command, run.id)
        assert (code, err.split(" is ")[1][:9]) == (1, "cancelled")
    assert states(run.id) == ["Scheduled", "Scheduled", "Suspended", "Scheduled", "Cancelled"]


def test_pausing_a_batch_that_has_given_way_ends_its_shards(
    client: SyncPrefectClient, ask: Ask
) -> None:
    run = make_batch(client, AwaitingRetry())
    made: list[State[Any]] = [Running(), Completed(), Scheduled()]
    shards = [make_shard(client, run, one) for one in made]
    assert ask("pause", run.id)[0] == 0
    assert [state(shard.id).name for shard in shards] == ["Cancelling", "Completed", "Cancelled"]


def test_a_batch_that_is_being_cancelled_is_not_paused(client: SyncPrefectClient, ask: Ask) -> None:
    run = put(client, make_batch(client, Running()), Cancelling())
    code, _, err = ask("pause", run.id)
    assert (code, state(run.id).name) == (1, "Cancelling")
    assert err == f"facecrop: {run.name} is being cancelled, so it cannot be paused\n"


def test_a_batch_that_a_worker_is_taking_is_paused_when_it_has_it(
    client: SyncPrefectClient, ask: Ask
) -> None:
    run = make_batch(client, Pending())
    taking = threading.Timer(2, put, (client, run, Pending(name="Submitting")))
    taking.start()
    assert ask("pause", run.id)[0] == 0
    taking.join()
    assert states(run.id) == ["Scheduled", "Pending", "Submitting", "Suspended"]


def test_a_batch_that_no_worker_runs_is_left_alone(client: SyncPrefectClient, ask: Ask) -> None:
    run = client.create_flow_run(
        crop_archive, parameters={"archive": "a.zip", "output": "out"}, state=Running()
    )
    for command in ("pause", "cancel"):
        code, _, err = ask(command, run.id)
        assert code == 1
        assert err.endswith("runs in the program that started it; interrupt it there\n")
    assert state(run.id).is_running()


def test_only_a_completed_batch_is_retried(client: SyncPrefectClient, ask: Ask) -> None:
    run = make_batch(client, Running())
    code, out, err = ask("retry", run.id)
    assert (code, out) == (1, "")
    assert err.startswith(f"facecrop: {run.name} is not completed; ")

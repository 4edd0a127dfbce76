"""What a batch says of an archive whose URI has a password or a signature, and of wicked names."""

import io
import json
import logging
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    LogFilter,
    LogFilterFlowRunId,
)
from prefect.client.schemas.objects import State

from flows.crop_archive import crop_archive
from pipeline.batch import plan, reopen
from pipeline.progress import Snapshot
from pipeline.settings import CropSettings, RunSettings
from pipeline.summary import Summary
from storage.errors import ArchiveError, OutputError, StorageError
from storage.output.counts import Counts
from tasks.logs import plain_logs
from tasks.reporting.names import name_batch, name_shard
from tasks.reporting.page import code, ended, running
from tests.pictures import no_face_jpeg
from tests.services import web_server

WICKED = [
    "<img src=x onerror=alert(1)>.zip",
    "[link](javascript:alert(1)).zip",
    "![](https://evil.example/seen.png).zip",
    "`code` <b>.zip",
    "a\n\n# big | b.zip",
]
STARTED = Snapshot(Counts(), None, 0, 0, 0, None)
SIGNED = "https://me:hush@store.example/in/a.zip?X-Amz-Signature=hu/sh"


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[str]:
    """The address of a ZIP with one image, on a web server that minds no query."""
    folder = tmp_path / "web"
    folder.mkdir()
    with zipfile.ZipFile(folder / "a.zip", "w") as target:
        target.writestr("a.jpg", no_face_jpeg())
    with web_server(folder) as address:
        yield f"{address}/a.zip"


def test_pages_and_names_hide_what_lets_a_reader_in() -> None:
    summary = Summary.of(SIGNED, "sftp://me:hush@host/out", Counts(), 0, 1)
    for page in (running(SIGNED, "out", STARTED, {}), ended(summary, {})):
        assert "## `https://***@store.example/in/a.zip?***`" in page
        assert "hu" not in page
    assert name_batch(SIGNED, "school", 2) == "a.zip · school · priority 2"
    assert name_shard(SIGNED, 12) == "a.zip · shard 12"


@pytest.mark.parametrize("name", WICKED)
def test_a_name_is_code_and_nothing_else_on_a_page(name: str) -> None:
    first, *rest = running(f"/in/{name}", f"/out/{name}", STARTED, {name: 1, "b": 1}).splitlines()
    places = [
        first.removeprefix("## "),
        *(line.split(" | ")[0].removeprefix("| ") for line in rest if line.startswith("| `")),
        *(line.removeprefix("Output: ") for line in rest if line.startswith("Output: ")),
    ]
    assert len(places) == 4
    for place in places:  # a code span reaches to the next backtick, and there has to be none
        assert place[0] == place[-1] == "`"
        assert "`" not in place[1:-1]


@pytest.mark.service
@pytest.mark.usefixtures("prefect")
def test_a_run_keeps_no_signature_but_in_its_parameters(archive: str, tmp_path: Path) -> None:
    output = tmp_path / "out"
    state: State[Summary] = crop_archive(f"{archive}?sig=hush", str(output), return_state=True)
    assert state.is_completed()
    assert state.state_details.flow_run_id is not None
    for file in output.rglob("*"):
        assert file.is_dir() or b"hush" not in file.read_bytes(), file
    assert json.loads((output / "batch.json").read_text())["archive"]["uri"] == f"{archive}?***"
    assert "a.zip?***" in (output / "report.html").read_text()
    with get_client(sync_client=True) as client:
        run = client.read_flow_run(state.state_details.flow_run_id)
        mine = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run.id]))
        artifacts = {one.key: one for one in client.read_artifacts(artifact_filter=mine)}
        wanted = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run.id]))
        until = time.monotonic() + 30  # logs follow a run some seconds later
        while not (logs := client.read_logs(wanted)) and time.monotonic() < until:
            time.sleep(0.5)
    assert run.name == "a.zip · 1 images, 0 faces"
    assert "a.zip?***" in str(artifacts["batch-summary"].data)
    for one in artifacts.values():
        assert "hush" not in f"{one.data} {one.description}"
    assert logs
    assert not [one.message for one in logs if "hush" in one.message]
    assert run.parameters["archive"] == f"{archive}?sig=hush"  # docs/operate/security.md says so


@pytest.mark.service
@pytest.mark.usefixtures("prefect")
def test_names_are_code_in_the_table_of_failed_images_and_in_captions(tmp_path: Path) -> None:
    archive = tmp_path / "[link](javascript:alert(1)).zip"
    names = [name.replace(".zip", ".jpg") for name in WICKED]
    with zipfile.ZipFile(archive, "w") as target:
        for name in names:
            target.writestr(name, b"\xff\xd8\xff\xe0 cut short")
    state: State[Summary] = crop_archive(str(archive), str(tmp_path / "out"), return_state=True)
    assert state.state_details.flow_run_id is not None
    with get_client(sync_client=True) as client:
        run = ArtifactFilterFlowRunId(any_=[state.state_details.flow_run_id])
        mine = client.read_artifacts(artifact_filter=ArtifactFilter(flow_run_id=run))
    artifacts = {one.key: one for one in mine}
    rows = json.loads(str(artifacts["failed-images"].data))
    assert [row["path"] for row in rows] == [code(name) for name in names]
    assert all(row["message"] == f"`{row['message'].strip('`')}`" for row in rows)
    assert artifacts["batch-counts"].description == f"Images of {code(str(archive))}"


@pytest.mark.service
@pytest.mark.usefixtures("prefect")
def test_an_archive_that_was_signed_anew_is_the_same(archive: str, tmp_path: Path) -> None:
    output = str(tmp_path / "out")
    first = plan(f"{archive}?sig=hush", output, CropSettings())
    again = plan(f"{archive}?sig=other", output, CropSettings())
    assert again.id == first.id
    assert again.archive.uri == f"{archive}?sig=other"  # what shards open
    with pytest.raises(OutputError, match="holds another batch"):
        plan(archive, output, CropSettings())


@pytest.mark.service
@pytest.mark.usefixtures("prefect")
def test_what_is_hidden_cannot_be_opened_again(archive: str, tmp_path: Path) -> None:
    output = str(tmp_path / "out")
    crop_archive(f"{archive}?sig=hush", output)
    with pytest.raises(OutputError, match="Crop the archive again"):
        reopen(output, RunSettings())


@pytest.mark.parametrize("made", [b"PK\5\6", b"no archive", b""])
def test_errors_hide_it_too(made: bytes, archive: str, tmp_path: Path) -> None:
    (tmp_path / "web" / "bad.zip").write_bytes(made)
    address = archive.replace("a.zip", "bad.zip")
    with pytest.raises(StorageError) as told:
        plan(f"{address}?sig=hush", str(tmp_path / "out"), CropSettings())
    assert f"{address}?***" in str(told.value)
    assert "hush" not in str(told.value)


def test_an_archive_that_is_not_there_is_named_without_it(archive: str, tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="not found") as told:
        plan(f"{archive}.gone?sig=hush", str(tmp_path / "out"), CropSettings())
    assert "hush" not in str(told.value)


@pytest.mark.service
@pytest.mark.usefixtures("prefect")
def test_a_list_s_secrets_are_in_nothing_that_is_kept(
    archive: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    web = archive.removesuffix("/a.zip")
    named = web.replace("http://", "http://me:hush@")
    (tmp_path / "web" / "face.jpg").write_bytes(no_face_jpeg())
    (tmp_path / "web" / "bad.jpg").write_bytes(b"\xff\xd8\xff\xe0 cut short")
    listed = tmp_path / "images.txt"
    lines = [
        f"{web}/face.jpg?X-Amz-Signature=hush",
        f"{named}/face.jpg#hush",
        f"{web}/bad.jpg?sig=hush",
        f"{named}/gone.jpg?hush",
        "s3a:/hush@bucket/a.jpg",
        "nobody-speaks-this://me:hush@host/a.jpg?hush",
    ]
    listed.write_text("\n".join(lines))
    output = tmp_path / "out"
    state: State[Summary] = crop_archive(str(listed), str(output), return_state=True)
    assert state.is_completed()
    for path in output.rglob("*"):
        assert "hush" not in str(path)
        assert path.is_dir() or b"hush" not in path.read_bytes(), path
    rows = [{**row, "faces": 0} for row in pq.read_table(output / "manifest.parquet").to_pylist()]
    assert "hush" not in str(rows)
    assert [row["status"] for row in rows] == ["no_face"] * 2 + ["failed"] * 4
    with get_client(sync_client=True) as client:
        run = ArtifactFilterFlowRunId(any_=[state.state_details.flow_run_id])
        mine = client.read_artifacts(artifact_filter=ArtifactFilter(flow_run_id=run))
    assert not [one.key for one in mine if "hush" in f"{one.data} {one.description}"]
    told = capfd.readouterr()
    assert "hush" not in told.out + told.err
    _, failed = reopen(str(output), RunSettings())  # the list is read again
    assert failed == {0}


def test_a_log_s_traceback_hides_it_too() -> None:
    logger = logging.getLogger("prefect.flow_runs")
    plain_logs()
    told = io.StringIO()
    handler = logging.StreamHandler(told)
    logger.addHandler(handler)
    try:
        try:
            raise ValueError(f"what is {SIGNED}?")
        except ValueError:
            logger.exception("Cannot do %s", SIGNED)
            logger.warning("Nor %s", "\x1b[2J.jpg")
    finally:
        logger.removeHandler(handler)
    assert "Traceback" in told.getvalue()
    assert told.getvalue().endswith(r"Nor \x1b[2J.jpg" + "\n")
    assert "hu" not in told.getvalue()

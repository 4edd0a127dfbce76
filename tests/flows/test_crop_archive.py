"""The flow on a real Prefect server: what its run shows, how it ends, what it retries."""

import base64
import json
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import State

from flows.crop_archive import crop_archive
from pipeline.settings import CropSettings
from storage.errors import ArchiveError
from tasks.reporting.counts import from_rows
from tasks.reporting.names import ended_name
from tests.flows.batches import picture, result
from tests.pictures import astronaut_jpeg, no_face_jpeg
from tests.services import RangeHandler, web_server
from tests.workers import artifacts_of

pytestmark = [pytest.mark.service, pytest.mark.usefixtures("prefect")]

SMALL_CHUNKS = CropSettings.model_validate({"chunk": {"members": 8}})


def test_the_server_shows_the_run(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.reporting.reporter._REPORT_SECONDS", 0.01)  # or it is over before
    state: State[Any] = crop_archive(
        str(sample), str(tmp_path / "out"), SMALL_CHUNKS, return_state=True
    )
    summary = state.result()
    run = state.state_details.flow_run_id
    assert run is not None
    mine = FlowRunFilter(id=FlowRunFilterId(any_=[run]))
    with get_client(sync_client=True) as client:
        shown = {artifact.key: str(artifact.data) for artifact in artifacts_of(run)}
        names: set[str] = set()
        patience = time.monotonic() + 20  # task runs reach the server as events
        while "chunk 1: members 8-15" not in names and time.monotonic() < patience:
            names = {task.name for task in client.read_task_runs(flow_run_filter=mine)}
            time.sleep(0.2)
    assert float(shown["batch-progress"]) == 100
    assert f"| Faces | {summary.faces} |" in shown["batch-summary"]
    assert "truncated_image" in shown["failed-images"]
    assert "chunk 1: members 8-15" in names
    assert from_rows(json.loads(shown["batch-counts"])).counts.faces == summary.faces
    with get_client(sync_client=True) as client:
        name = client.read_flow_run(run).name
    assert name == ended_name("sample.zip", summary)
    assert summary.members == len(result(str(tmp_path / "out")).manifest)
    assert summary.resumed == 0
    assert summary.errors == {"truncated_image": 1}


def test_a_batch_that_is_over_at_once_shows_its_end_alone(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.reporting.reporter._REPORT_SECONDS", 3600)
    state: State[Any] = crop_archive(str(sample), str(tmp_path / "out"), return_state=True)
    run = state.state_details.flow_run_id
    assert run is not None
    shown = {artifact.key for artifact in artifacts_of(run)}
    assert shown == {"batch-summary", "batch-counts", "contact-sheet", "failed-images"}


def test_the_runs_page_says_how_alike_the_heads_are(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "a.jpg").write_bytes(astronaut_jpeg())
    heads = CropSettings.model_validate({"crop": {"preset": "us-2x2"}})
    state: State[Any] = crop_archive(str(photos), str(tmp_path / "out"), heads, return_state=True)
    run = state.state_details.flow_run_id
    assert run is not None
    shown = {artifact.key: str(artifact.data) for artifact in artifacts_of(run)}
    assert "The heads, as estimated, are 59.0 % of the crop's height" in shown["batch-summary"]


def test_an_archive_that_is_none_fails_the_run_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "notes.zip").write_text("no archive at all")
    state: State[Any] = crop_archive(
        str(tmp_path / "notes.zip"), str(tmp_path / "out"), return_state=True
    )
    assert state.is_failed()
    assert "notes.zip is not an archive that Facecrop reads" in str(state.message)
    assert not (tmp_path / "out").exists()
    with pytest.raises(ArchiveError):
        state.result()


def test_the_page_of_a_run_shows_faces_that_are_covered(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "a.jpg").write_bytes(astronaut_jpeg())
    (photos / "b.jpg").write_bytes(no_face_jpeg())
    settings = CropSettings.model_validate({"output": {"kind": "blurred", "cover": "mask"}})
    state: State[Any] = crop_archive(
        str(photos), str(tmp_path / "out"), settings, return_state=True
    )
    run = state.state_details.flow_run_id
    assert run is not None
    shown = {artifact.key: str(artifact.data) for artifact in artifacts_of(run)}
    data = shown["contact-sheet"].partition("base64,")[2].removesuffix(")")
    pixels = picture(base64.b64decode(data))
    # one photograph in 120 pixels, its face black; the other one has none to cover, and is not here
    assert (pixels[4:124, 4:124].max(axis=2) < 12).mean() > 0.06
    assert (pixels[4:124, 128:248].std(axis=(0, 1)) < 2).all()


@pytest.mark.slow
def test_storage_that_recovers_costs_a_retry_and_nothing_else(
    flaky: "Flaky", tmp_path: Path
) -> None:
    flaky.fail(at=0, times=2)
    summary = crop_archive(flaky.archive, str(tmp_path / "out"))
    assert flaky.refused == 2
    assert (summary.members, summary.failed, summary.faces) == (3, 0, 2)


@pytest.mark.slow
def test_storage_that_never_recovers_fails_only_the_members_it_holds(
    flaky: "Flaky", tmp_path: Path
) -> None:
    flaky.fail(at=flaky.second, times=1_000)
    each = CropSettings.model_validate({"chunk": {"members": 1}})
    summary = crop_archive(flaky.archive, str(tmp_path / "out"), each)
    assert flaky.refused == 3  # attempts
    assert (summary.members, summary.cropped, summary.failed) == (3, 2, 1)
    assert summary.errors == {"unreadable": 1}
    rows = result(str(tmp_path / "out")).manifest
    assert [row["path"] for row in rows] == ["one.jpg", "none.jpg", "two.jpg"]


class Flaky:
    """An archive of three members, and how its web server is to fail.

    Attributes:
        archive: its address.
        second: where in the file the second member begins.
        refused: requests that were answered with 503.
    """

    def __init__(self, folder: Path) -> None:
        self.archive = ""
        self.refused = 0
        self._at = self._times = 0
        with zipfile.ZipFile(folder / "flaky.zip", "w") as archive:
            archive.writestr("one.jpg", astronaut_jpeg())
            archive.writestr("none.jpg", no_face_jpeg())
            archive.writestr("two.jpg", astronaut_jpeg(300))
            self.second = archive.getinfo("none.jpg").header_offset

    def fail(self, *, at: int, times: int) -> None:
        """Refuses this many reads of members that begin at this byte."""
        self._at, self._times = at, times

    def refuses(self, asked: str) -> bool:
        """Whether to refuse a Range header; the short look at the file's head is none of ours."""
        start, _, end = asked.removeprefix("bytes=").partition("-")
        if int(start) != self._at or int(end) - int(start) < 1_000 or self.refused == self._times:
            return False
        self.refused += 1
        return True


@pytest.fixture
def flaky(tmp_path: Path) -> Iterator[Flaky]:
    served = Flaky(tmp_path)

    class Handler(RangeHandler):
        def do_GET(self) -> None:  # noqa: N802 - what http.server calls
            if served.refuses(self.headers.get("Range", "bytes=0-0")):
                self.send_error(503)
            else:
                super().do_GET()

    with web_server(tmp_path, Handler) as address:
        served.archive = f"{address}/flaky.zip"
        yield served

"""An image that kills, hangs or eats memory has a row that says so; its neighbours have theirs."""

import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from detection.sandbox import pool as sandbox
from flows.crop_archive import crop_archive
from flows.retry_failed import retry_failed
from pipeline.settings import CropSettings
from storage.errors import TransientError
from tests.detection import poison
from tests.flows.batches import result
from tests.pictures import astronaut_jpeg, no_face_jpeg

pytestmark = [pytest.mark.service, pytest.mark.usefixtures("prefect", "started_images")]

SETTINGS = CropSettings.model_validate(
    {"chunk": {"members": 8}, "limits": {"image_seconds": 15, "image_mib": 512}}
)
ENDINGS = {
    5: (poison.ABORTS, "decoder_crashed"),
    6: (poison.HANGS, "too_slow"),
    14: (poison.EATS, "too_much_memory"),
}


@pytest.fixture
def poisoned(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    sandbox.end_idle()
    monkeypatch.setattr(sandbox, "COMMAND", (sys.executable, "-m", poison.__name__))
    monkeypatch.setenv(poison.MEMORY_FILE, str(tmp_path / "done"))
    yield
    sandbox.end_idle()


@pytest.mark.usefixtures("poisoned")
def test_poison_is_told_of_its_image_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive, output = tmp_path / "photos.zip", str(tmp_path / "out")
    with zipfile.ZipFile(archive, "w") as packed:
        for number in range(20):
            ending, _ = ENDINGS.get(number, (b"", ""))
            image = no_face_jpeg() if number == 19 else astronaut_jpeg()
            packed.writestr(f"{number:02}.jpg", image + ending)

    summary = crop_archive(str(archive), output, SETTINGS)

    assert (summary.members, summary.cropped, summary.failed) == (20, 16, 3)
    there = result(output)
    assert {row["member"]: row["error"] for row in there.manifest if row["error"]} == {
        number: code for number, (_, code) in ENDINGS.items()
    }
    assert len(there.crops) == 16

    # the same images where nothing is poison any more: the file was never at fault
    sandbox.end_idle()
    monkeypatch.setattr(sandbox, "COMMAND", (sys.executable, "-P", "-m", "detection.sandbox.child"))
    again = retry_failed(output)
    assert (again.cropped, again.failed) == (19, 0)


def test_a_machine_without_processes_fails_the_run_and_no_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive, output = tmp_path / "photos.zip", str(tmp_path / "out")
    with zipfile.ZipFile(archive, "w") as packed:
        for number in range(8):
            packed.writestr(f"{number:02}.jpg", astronaut_jpeg())
    sandbox.end_idle()
    command = sandbox.COMMAND
    monkeypatch.setattr(sandbox, "COMMAND", ("/no/such/python",))
    with pytest.raises(TransientError, match="A process for images cannot be started"):
        crop_archive(str(archive), output, SETTINGS)

    monkeypatch.setattr(sandbox, "COMMAND", command)
    summary = crop_archive(str(archive), output, SETTINGS)
    assert (summary.cropped, summary.failed) == (8, 0)
    sandbox.end_idle()

"""What the machine lacks is not recorded as an image's fault."""

import json
import os
import resource
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from detection.errors import DetectorError, ImageError, ImageErrorCode, MachineError
from detection.sandbox import pool as sandbox
from detection.sandbox import process
from detection.sandbox.pool import crop_isolated
from detection.sandbox.protocol import Bounds
from detection.sandbox.replies import Outcome
from detection.settings import DetectionSettings
from pipeline.member import crop_members
from pipeline.settings import CropSettings
from storage.archives.members import Chunk, Entry
from storage.errors import StorageError, TransientError
from tests.detection import poison
from tests.detection.isolated import CUT, DETECTION
from tests.pictures import astronaut_jpeg, no_face_jpeg

pytestmark = pytest.mark.usefixtures("started_images")

BOUNDS = Bounds(max_pixels=100_000_000, seconds=60, memory_mib=1024)


@pytest.fixture(autouse=True)
def own_children() -> Iterator[None]:
    sandbox.end_idle()
    yield
    sandbox.end_idle()


@pytest.fixture
def poisoned(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sandbox, "COMMAND", (sys.executable, "-m", poison.__name__))
    monkeypatch.setenv(poison.MEMORY_FILE, str(tmp_path / "done"))


def crop(*endings: bytes) -> list[Outcome]:
    images = [(number, astronaut_jpeg() + ending) for number, ending in enumerate(endings)]
    return [outcome for _, outcome in crop_isolated(images, DETECTION, CUT, BOUNDS)]


def chunk_of_eight(settings: CropSettings) -> None:
    entries = [Entry(n, f"{n}.jpg", 1, astronaut_jpeg()) for n in range(8)]
    list(crop_members(entries, Chunk(0, 0, 8, 0, 0), settings))


def test_a_child_that_cannot_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "COMMAND", ("/no/such/python",))
    with pytest.raises(MachineError, match="cannot be started: No such file or directory"):
        crop(b"")
    with pytest.raises(TransientError, match="cannot be started"):
        chunk_of_eight(CropSettings())


def test_no_file_descriptors_for_a_child() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        with pytest.raises(MachineError, match="Too many open files"):
            crop(b"")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert isinstance(crop(b"")[0], tuple)


@pytest.mark.parametrize("limit", ["DATA", "NOFILE"])
def test_a_child_that_cannot_be_imported(limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    most = {"DATA": 24 << 20, "NOFILE": 5}[limit]
    begin = (
        f"import resource, runpy; resource.setrlimit(resource.RLIMIT_{limit}, ({most}, {most}))\n"
        "runpy.run_module('detection.sandbox.child', run_name='__main__')"
    )
    monkeypatch.setattr(sandbox, "COMMAND", (sys.executable, "-P", "-c", begin))
    with pytest.raises(TransientError) as caught:
        chunk_of_eight(CropSettings())
    line = str(caught.value)
    assert line.startswith("A process for images does not get ready here: ")
    assert line.isprintable()
    assert len(line) > 50


def test_a_child_s_first_words_are_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    begin = "import sys; sys.exit('pthread_create failed: out of processes\\nMore.')"
    monkeypatch.setattr(sandbox, "COMMAND", (sys.executable, "-c", begin))
    with pytest.raises(TransientError, match=r"here: pthread_create failed: out of processes$"):
        chunk_of_eight(CropSettings())


def test_a_child_that_does_not_get_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "COMMAND", ("/bin/sleep", "600"))
    monkeypatch.setattr(process, "READY_SECONDS", 1)
    with pytest.raises(MachineError, match="not within 1 s"):
        crop(b"")


@pytest.mark.slow
@pytest.mark.usefixtures("poisoned")
def test_no_thread_for_any_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(poison.NO_THREADS, "")
    with pytest.raises(TransientError, match="can't start new thread"):
        chunk_of_eight(CropSettings())


@pytest.mark.slow
@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("ending", [poison.WANTS_A_THREAD, poison.WANTS_A_FILE])
def test_an_image_that_blames_the_machine_fails_alone(ending: bytes) -> None:
    first, second, third = crop(b"", ending, b"")
    assert isinstance(first, tuple)
    assert isinstance(second, ImageError)
    assert second.code is ImageErrorCode.DECODER_CRASHED
    assert isinstance(third, tuple)


@pytest.mark.slow
@pytest.mark.usefixtures("poisoned")
def test_an_image_whose_process_is_always_killed_fails_alone() -> None:
    first, second, third = crop(b"", poison.IS_KILLED, b"")
    assert isinstance(first, tuple)
    assert isinstance(second, ImageError)
    assert second.code is ImageErrorCode.TOO_MUCH_MEMORY
    assert isinstance(third, tuple)


def test_a_child_that_was_killed_while_it_waited_costs_nothing() -> None:
    crop(b"")
    [idle] = sandbox.idle_pids()
    os.kill(idle, signal.SIGKILL)
    [outcome] = crop(b"")
    assert isinstance(outcome, tuple)


@pytest.mark.parametrize("there", [False, True])
def test_a_model_that_cannot_be_used_fails_the_chunk_for_good(there: bool, tmp_path: Path) -> None:
    model = tmp_path / "model.onnx"
    if there:
        model.write_bytes(b"no model")
    detection = DetectionSettings(model=str(model))
    with pytest.raises(DetectorError):
        list(crop_isolated([(0, no_face_jpeg())], detection, CUT, BOUNDS))
    settings = CropSettings.model_validate({"detection": {"model": str(model)}})
    with pytest.raises(StorageError, match=r"model\.onnx") as caught:
        chunk_of_eight(settings)
    assert json.dumps(str(caught.value)).count("\\n") == 0

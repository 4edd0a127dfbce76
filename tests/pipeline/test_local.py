"""A whole batch without Prefect."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline import chunk, retries
from pipeline.local import crop
from pipeline.member import crop_members
from pipeline.progress import Snapshot
from pipeline.settings import CropSettings
from storage.errors import OutputError, TransientError
from storage.output.output import Output
from tests.flows.batches import result

MEMBERS = 24
SMALL_CHUNKS = CropSettings.model_validate({"chunk": {"members": 4}})


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from intake.cli.samples import write_sample

    path = tmp_path_factory.mktemp("photos") / "sample.zip"
    write_sample(path, MEMBERS)
    return path


def test_it_makes_everything_and_tells_how_far_it_is(photos: Path, tmp_path: Path) -> None:
    told: list[Snapshot] = []
    summary = crop(str(photos), str(tmp_path / "out"), SMALL_CHUNKS, told.append)
    made = result(str(tmp_path / "out"))
    assert summary.members == len(made.manifest) == MEMBERS
    assert summary.faces == len(made.faces) == len(made.crops) > 10
    assert summary.cropped + summary.no_face + summary.skipped + summary.failed == MEMBERS
    assert (told[-1].counts.members, told[-1].share) == (MEMBERS, 1.0)
    counts = [snapshot.counts.members for snapshot in told]
    assert counts == sorted(counts)
    assert {"batch.json", "report.html", "failed.csv"} <= set(made.names)


def test_it_completes_what_is_missing(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = crop(str(photos), str(tmp_path / "whole"), SMALL_CHUNKS)

    def fail_later(*arguments: Any) -> Iterator[Any]:
        if arguments[1].number >= 3:
            raise OSError("pulled the plug")
        yield from crop_members(*arguments)

    output = str(tmp_path / "out")
    with monkeypatch.context() as patched:
        patched.setattr(chunk, "crop_members", fail_later)
        with pytest.raises(OSError, match="plug"):
            crop(str(photos), output, SMALL_CHUNKS)
    done = Output(output).parts()
    assert done
    assert 3 not in done
    again = crop(str(photos), output, SMALL_CHUNKS)
    assert again.resumed == 4 * len(done)
    assert again.model_dump(exclude={"output", "seconds", "resumed"}) == whole.model_dump(
        exclude={"output", "seconds", "resumed"}
    )
    assert result(output) == result(str(tmp_path / "whole"))


def test_a_chunk_is_retried_after_a_transient_error(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retries, "FIRST_DELAY_SECONDS", 0.01)
    put_part = Output.put_part
    failures: list[int] = []

    def fail_twice(self: Output, number: int, data: bytes) -> None:
        if number == 1 and len(failures) < 2:
            failures.append(number)
            raise TransientError("the disk is full")
        put_part(self, number, data)

    monkeypatch.setattr(Output, "put_part", fail_twice)
    summary = crop(str(photos), str(tmp_path / "out"), SMALL_CHUNKS)
    assert (len(failures), summary.members) == (2, MEMBERS)


def test_another_batchs_output_is_refused(photos: Path, tmp_path: Path) -> None:
    output = str(tmp_path / "out")
    crop(str(photos), output, SMALL_CHUNKS)
    other = SMALL_CHUNKS.model_copy(
        update={"crop": SMALL_CHUNKS.crop.model_copy(update={"size": 64})}
    )
    with pytest.raises(OutputError, match=r"crop\.size"):
        crop(str(photos), output, other)


def test_no_module_of_prefect_is_imported(photos: Path, tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from pipeline.local import crop\n"
        f"crop({str(photos)!r}, {str(tmp_path / 'out')!r})\n"
        "print([name for name in sys.modules if name.partition('.')[0] == 'prefect'])\n"
    )
    command = [sys.executable, "-P", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"

"""Outputs are the record: a batch goes on though the server has forgotten it, or files are lost."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deployments.__main__ import main as apply_deployments
from flows.crop_archive import crop_archive
from intake.samples import write_sample
from storage.errors import OutputError
from storage.manifest import AccountingError
from tasks.settings import CropSettings
from tests.flows.batches import result
from tests.workers import kill, production, state, submit, wait, wait_for_end

pytestmark = pytest.mark.service

MEMBERS = 600
SETTINGS: dict[str, Any] = {"chunk": {"members": 20}, "run": {"shard_members": 200, "threads": 1}}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_batch_goes_on_after_the_servers_data_is_lost(tmp_path: Path) -> None:
    sample, output = tmp_path / "sample.zip", tmp_path / "out"
    write_sample(sample, MEMBERS)
    with production(tmp_path) as (stack, start_worker):
        worker = start_worker("before")
        submit(str(sample), str(output), SETTINGS)
        wait(lambda: len([*output.glob("parts/*")]) >= 5)
        kill(worker)
        done = {part.name: part.stat().st_mtime_ns for part in output.glob("parts/*")}
        assert not (output / "manifest.parquet").exists(), "too late to show anything"
        stack.lose_all_rows()

        assert apply_deployments() == 0
        start_worker("after")
        run = submit(str(sample), str(output), SETTINGS)
        wait_for_end(run.id)
        assert state(run.id).is_completed(), state(run.id)
        assert (
            done.items()
            <= {part.name: part.stat().st_mtime_ns for part in output.glob("parts/*")}.items()
        )
        undisturbed = tmp_path / "undisturbed"
        crop_archive(str(sample), str(undisturbed), CropSettings.model_validate(SETTINGS))
    assert result(str(output)) == result(str(undisturbed))


@pytest.fixture(scope="module")
def finished(prefect: object, sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished batch of the sample, in chunks of eight."""
    output = tmp_path_factory.mktemp("finished") / "out"
    crop_archive(str(sample), str(output), CHUNKS)
    return output


CHUNKS = CropSettings.model_validate({"chunk": {"members": 8}})


def _cut_in_half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _lose_tables(output: Path) -> None:
    for name in ("manifest.parquet", "faces.parquet", "failed.csv", "report.html"):
        (output / name).unlink()


def _lose_a_part(output: Path) -> None:
    sorted(output.glob("parts/*"))[1].unlink()


def _leave_a_table_half_written(output: Path) -> None:
    _lose_tables(output)
    shutil.copy(sorted(output.glob("parts/*"))[0], output / "faces.parquet")
    _cut_in_half(output / "faces.parquet")


def _leave_files_in_the_making(output: Path) -> None:
    (output / ".tmp" / "x").mkdir(parents=True)
    (output / ".tmp" / "x" / "0").write_bytes(b"half a cr")


@pytest.mark.parametrize(
    "harm",
    [
        _lose_tables,
        _lose_a_part,
        _leave_a_table_half_written,
        _leave_files_in_the_making,
        lambda output: _cut_in_half(output / "manifest.parquet"),
    ],
    ids=["no tables", "no part", "half a table", "leftovers", "half a manifest"],
)
def test_a_damaged_output_is_completed(
    harm: Callable[[Path], None], finished: Path, sample: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    shutil.copytree(finished, output)
    harm(output)
    crop_archive(str(sample), str(output), CHUNKS)
    assert result(str(output)) == result(str(finished))


def test_a_damaged_record_is_said_in_one_line(finished: Path, sample: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    shutil.copytree(finished, output)
    _cut_in_half(output / "batch.json")
    with pytest.raises(OutputError, match=r"batch\.json is damaged\. Name another output"):
        crop_archive(str(sample), str(output), CHUNKS)


def test_a_damaged_part_is_named_and_made_again(
    finished: Path, sample: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    shutil.copytree(finished, output)
    part = sorted(output.glob("parts/*"))[1]
    _cut_in_half(part)
    with pytest.raises(AccountingError, match=f"parts/{part.name} is damaged. Delete it and run"):
        crop_archive(str(sample), str(output), CHUNKS)
    part.unlink()
    crop_archive(str(sample), str(output), CHUNKS)
    assert result(str(output)) == result(str(finished))

"""A batch whose output lost files, or has some that were half written."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.local import crop
from pipeline.settings import CropSettings
from storage.errors import OutputError
from storage.output.manifest import AccountingError
from tests.flows.batches import result

pytestmark = pytest.mark.slow  # all of them together

CHUNKS = CropSettings.model_validate({"chunk": {"members": 8}})


@pytest.fixture(scope="module")
def finished(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished batch of the sample, in chunks of eight."""
    output = tmp_path_factory.mktemp("finished") / "out"
    crop(str(sample), str(output), CHUNKS)
    return output


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
    (output / ".tmp" / "01234567-00000000").mkdir(parents=True)
    (output / ".tmp" / "01234567-00000000" / "0").write_bytes(b"half a cr")


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
    crop(str(sample), str(output), CHUNKS)
    assert result(str(output)) == result(str(finished))


def test_a_damaged_record_is_said_in_one_line(finished: Path, sample: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    shutil.copytree(finished, output)
    _cut_in_half(output / "batch.json")
    with pytest.raises(OutputError, match=r"batch\.json is damaged\. Name another output"):
        crop(str(sample), str(output), CHUNKS)


def test_a_damaged_part_is_named_and_made_again(
    finished: Path, sample: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    shutil.copytree(finished, output)
    part = sorted(output.glob("parts/*"))[1]
    _cut_in_half(part)
    with pytest.raises(AccountingError, match=f"parts/{part.name} is damaged. Delete it and run"):
        crop(str(sample), str(output), CHUNKS)
    part.unlink()
    crop(str(sample), str(output), CHUNKS)
    assert result(str(output)) == result(str(finished))

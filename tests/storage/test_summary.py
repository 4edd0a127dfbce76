"""A finished batch has its counts in one small file; without it, the manifest tells them."""

from pathlib import Path

import pytest

from storage.errors import OutputError
from storage.output.counts import Counts, Status
from storage.output.manifest import MemberRow, encode_part
from storage.output.output import Output
from storage.output.summary import decode_summary
from tests.storage.test_output import RECORD

ROWS = [
    MemberRow(0, "a.jpg", Status.NO_FACE, 5),
    MemberRow(1, "b.jpg", Status.FAILED, 5, "truncated_image", "It ends too early."),
    MemberRow(2, "c.txt", Status.SKIPPED, 5, "not_an_image"),
]
TOTALS = Counts(members=3, no_face=1, skipped=1, failed=1)
TOTALS.errors["truncated_image"] = 1
TOTALS.skips["not_an_image"] = 1


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    finish(tmp_path / "out")
    return tmp_path / "out"


def finish(place: Path, rows: list[MemberRow] = ROWS) -> None:
    output = Output(str(place))
    output.claim(RECORD, "resume")
    output.put_part(0, encode_part(rows, RECORD["id"]))
    output.finish(len(rows), 1)


def test_counts_are_read_without_the_manifest(finished: Path) -> None:
    manifest = finished / "manifest.parquet"
    manifest.write_bytes(b"?" * manifest.stat().st_size)
    assert Output(str(finished)).totals() == TOTALS


@pytest.mark.parametrize("text", [None, "", "[]", "{}", '{"format": "facecrop-summary/1"}'])
def test_an_output_without_them_has_its_manifest_counted(finished: Path, text: str | None) -> None:
    summary = finished / "summary.json"
    summary.unlink() if text is None else summary.write_text(text)
    assert Output(str(finished)).totals() == TOTALS


def test_counts_of_another_manifest_are_not_believed(finished: Path, tmp_path: Path) -> None:
    """An older Facecrop that retries failures writes the manifest alone."""
    more = [*ROWS, MemberRow(3, "d.jpg", Status.NO_FACE, 5)]
    finish(tmp_path / "more", more)
    (tmp_path / "more" / "manifest.parquet").replace(finished / "manifest.parquet")
    assert Output(str(finished)).totals().members == 4


def test_a_batch_without_its_manifest_is_not_finished(finished: Path) -> None:
    (finished / "manifest.parquet").unlink()
    with pytest.raises(OutputError, match="not found"):
        Output(str(finished)).totals()


def test_a_file_of_that_name_that_others_wrote_stays(tmp_path: Path) -> None:
    output = Output(str(tmp_path))
    output.claim(RECORD, "resume")
    (tmp_path / "summary.json").write_text('{"of": "others"}')
    finish(tmp_path)
    assert (tmp_path / "summary.json").read_text() == '{"of": "others"}'
    assert output.totals() == TOTALS
    assert output.remove() == ["summary.json"]
    assert [path.name for path in tmp_path.iterdir()] == ["summary.json"]


def test_it_is_written_again_with_the_manifest(finished: Path) -> None:
    rows = [*ROWS[:1], MemberRow(1, "b.jpg", Status.NO_FACE, 5, attempts=2), *ROWS[2:]]
    finish(finished, rows)
    size = (finished / "manifest.parquet").stat().st_size
    found = decode_summary((finished / "summary.json").read_bytes(), size)
    assert found == Counts(members=3, no_face=2, skipped=1, skips=TOTALS.skips)

"""Archives that are damaged, or whose names are in another encoding, from end to end."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from intake.cli.main import main
from pipeline.local import crop
from pipeline.settings import CropSettings
from storage.archives.spelling import Sample, Spelling
from tests.flows.batches import result
from tests.pictures import no_face_jpeg
from tests.storage.test_spelling import JA, zip_of
from tests.storage.test_tar import SUFFIXES, tarred
from tests.storage.test_zip import by_hand, record

pytestmark = pytest.mark.slow  # all of them together

PHOTO = no_face_jpeg()
ONE_A_CHUNK = CropSettings.model_validate({"chunk": {"members": 1}})
THREE = tarred([(f"{number}.jpg", PHOTO) for number in range(3)])
CUT = THREE[: 2 * 512 + len(PHOTO) + len(PHOTO) // 2]


@pytest.mark.parametrize(("suffix", "compress"), SUFFIXES)
def test_a_batch_of_what_is_left_is_done_with_failures(
    suffix: str, compress: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    archive, output = tmp_path / f"a{suffix}", tmp_path / "out"
    archive.write_bytes(compress(THREE + b"uploaded by curl"))
    summary = crop(str(archive), str(output), ONE_A_CHUNK)
    assert (summary.members, summary.no_face, summary.failed) == (4, 3, 1)
    assert summary.errors == {"archive_damaged": 1}
    [line] = summary.notes
    assert "behind its end" in line
    assert "member 3, (behind 2.jpg)" in line
    with (output / "failed.csv").open(encoding="utf-8-sig", newline="") as file:
        [failed] = csv.DictReader(file)
    assert (failed["path"], failed["error"]) == ("(behind 2.jpg)", "archive_damaged")
    assert line in (output / "report.html").read_text()
    assert json.loads((output / "summary.json").read_text())["notes"] == [line]
    # once more, with a chunk and the tables lost
    before = result(str(output))
    sorted(output.glob("parts/*"))[2].unlink()
    (output / "manifest.parquet").unlink()
    assert crop(str(archive), str(output), ONE_A_CHUNK).notes == [line]
    assert result(str(output)) == before


def test_the_command_says_so_and_exits_with_3(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = tmp_path / "a.tar"
    archive.write_bytes(CUT)
    assert main(["crop", "--no-prefect", str(archive), "--output", str(tmp_path / "out")]) == 3
    told = capsys.readouterr().out
    assert "archive_damaged 1" in told
    assert "cut short" in told


def test_a_guess_is_kept_by_the_runs_that_go_on_with_the_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive, output = tmp_path / "a.zip", tmp_path / "out"
    archive.write_bytes(
        by_hand([record(name.encode("cp932"), PHOTO) for name in JA] + [record(b"-", PHOTO)])
    )
    summary = crop(str(archive), str(output), ONE_A_CHUNK)
    assert "cp932" in summary.notes[0]
    before = result(str(output))
    assert [row["path"] for row in before.manifest] == [*JA, "-"]
    assert json.loads((output / "batch.json").read_text())["names"] == "cp932"
    for part in sorted(output.glob("parts/*"))[1:3]:
        part.unlink()
    (output / "manifest.parquet").unlink()

    def another(_: Sample, last: str) -> Spelling:
        return Spelling("cp1252", first=True, last=last)

    monkeypatch.setattr(Sample, "guess", another)
    assert crop(str(archive), str(output), ONE_A_CHUNK).notes == summary.notes
    assert result(str(output)) == before


def test_an_encoding_may_be_named(tmp_path: Path) -> None:
    archive, output = tmp_path / "a.zip", tmp_path / "out"
    archive.write_bytes(zip_of([name.encode("cp932") for name in JA]))
    settings = CropSettings.model_validate({"input": {"name_encoding": "cp437"}})
    crop(str(archive), str(output), settings)
    assert [row["path"] for row in result(str(output)).manifest] == [
        name.encode("cp932").decode("cp437") for name in JA
    ]
    with pytest.raises(ValueError, match="is no encoding that Python knows"):
        CropSettings.model_validate({"input": {"name_encoding": "shift jazz"}})

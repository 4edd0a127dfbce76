"""Only what failed is retried, and the manifest stays one row a member."""

import random
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest

from flows.crop_archive import crop_archive
from flows.retry_failed import retry_failed
from pipeline.settings import CropSettings, LimitSettings
from storage.errors import ArchiveError, OutputError
from storage.output.output import Output
from tests.flows.batches import result
from tests.pictures import astronaut, astronaut_jpeg, encoded, no_face_jpeg

pytestmark = [pytest.mark.service, pytest.mark.usefixtures("prefect")]

NAMES = [f"{number:02}.jpg" for number in range(12)]
SETTINGS: dict[str, Any] = {"chunk": {"members": 3}}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A list of URIs, of which two do not exist yet."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in NAMES:
        (folder / name).write_bytes(no_face_jpeg() if name == "05.jpg" else astronaut_jpeg(300))
    (folder / "04.jpg").write_bytes(random.Random(1).randbytes(500))
    for late in ("01.jpg", "10.jpg"):
        (folder / late).rename(tmp_path / late)
    listed = tmp_path / "photos.txt"
    listed.write_text("".join(f"{folder / name}\n" for name in NAMES))
    return listed


@pytest.mark.parametrize(
    "chosen",
    [{"layout": "files"}, {"layout": "shards"}, {"layout": "parquet"}, {"kind": "blurred"}],
    ids=lambda chosen: "-".join(chosen.values()),
)
def test_what_failed_is_driven_again(photos: Path, tmp_path: Path, chosen: dict[str, str]) -> None:
    settings = CropSettings.model_validate({**SETTINGS, "output": chosen})
    output = tmp_path / "out"
    first = crop_archive(str(photos), str(output), settings)
    assert (first.members, first.failed) == (12, 3)
    before = result(str(output))
    [untouched] = output.glob("parts/00000002-*")
    written = untouched.stat().st_mtime_ns

    for late in ("01.jpg", "10.jpg"):
        (tmp_path / late).rename(photos.parent / "photos" / late)
    again = retry_failed(str(output))
    assert (again.members, again.failed, again.faces) == (12, 1, 10)
    assert untouched.stat().st_mtime_ns == written  # nothing failed in it

    # as if all had been there from the start, but for the attempts that are counted
    after, fresh = result(str(output)), tmp_path / "fresh"
    crop_archive(str(photos), str(fresh), settings)
    expected = result(str(fresh))
    assert Output(str(output)).totals() == Output(str(fresh)).totals()
    assert dict(Output(str(output)).crops()) == dict(Output(str(fresh)).crops())
    assert (after.names, after.crops, after.faces) == (
        expected.names,
        expected.crops,
        expected.faces,
    )
    attempts = {row["member"]: row.pop("attempts") for row in after.manifest}
    assert {member for member, count in attempts.items() if count == 2} == {1, 4, 10}
    assert set(attempts.values()) == {1, 2}
    assert after.manifest == [
        {name: value for name, value in row.items() if name != "attempts"}
        for row in expected.manifest
    ]
    assert before.failed.count("\n") == 4
    assert after.failed.count("\n") == 2


def test_what_failed_by_a_limit_is_retried_with_a_higher_one(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("small.jpg", astronaut_jpeg(300))
        archive.writestr("large.png", encoded(astronaut(), "PNG"))
        archive.writestr("long.bmp", encoded(astronaut(1000), "BMP"))
    settings = CropSettings.model_validate({"limits": {"max_pixels": 200_000, "max_member_mib": 1}})
    output = tmp_path / "out"
    first = crop_archive(str(tmp_path / "a.zip"), str(output), settings)
    assert first.failed == 2
    record = (output / "batch.json").read_bytes()
    assert retry_failed(str(output)).failed == 2

    raised = LimitSettings(max_pixels=2_000_000, image_seconds=1)
    assert retry_failed(str(output), limits=raised).failed == 1  # the long one still is too long
    last = retry_failed(str(output), limits=LimitSettings(max_pixels=10**7, max_member_mib=8))
    assert (last.failed, last.faces) == (0, 3)
    assert (output / "batch.json").read_bytes() == record
    # the same batch goes on with the settings that it was made with
    assert crop_archive(str(tmp_path / "a.zip"), str(output), settings).failed == 0


def test_nothing_failed_and_nothing_changes(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("one.jpg", astronaut_jpeg())
    output = tmp_path / "out"
    crop_archive(str(tmp_path / "a.zip"), str(output))
    before = result(str(output))
    summary = retry_failed(str(output))
    assert (summary.members, summary.failed) == (1, 0)
    assert result(str(output)) == before


def test_what_cannot_be_driven_again_is_said_in_a_line(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="holds no batch"):
        retry_failed(str(tmp_path / "nowhere"))
    output = tmp_path / "out"
    crop_archive(str(photos), str(output), CropSettings.model_validate(SETTINGS))
    shutil.copy(output / "manifest.parquet", tmp_path)
    (output / "manifest.parquet").unlink()
    with pytest.raises(OutputError, match="no finished batch"):
        retry_failed(str(output))
    shutil.copy(tmp_path / "manifest.parquet", output)
    photos.write_text(photos.read_text() + "/another.jpg\n")
    with pytest.raises(ArchiveError, match="has changed"):
        retry_failed(str(output))

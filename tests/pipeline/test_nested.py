"""A batch of archives in an archive."""

import io
import json
import os
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline import batch, chunk
from pipeline.images import ImagePool
from pipeline.local import crop
from pipeline.member import crop_members
from pipeline.settings import CropSettings, LimitSettings
from pipeline.window import crop_chunks, in_threads
from storage.archives.nested import NestedArchive
from storage.archives.plan import encode_chunks
from storage.errors import OutputError
from tests.flows.batches import result
from tests.pictures import astronaut_jpeg

SMALL_CHUNKS = CropSettings.model_validate({"chunk": {"members": 2}})
NAMES = ["anna.jpg", "ben.jpg", "sub/anna.jpg", "ANNA.jpg", "notes.txt"]


def a_class(names: list[str] = NAMES) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            data = b"x" if name.endswith("txt") else astronaut_jpeg(128 if "ben" in name else 192)
            archive.writestr(zipfile.ZipInfo(name), data)
    return out.getvalue()


@pytest.fixture
def year(tmp_path: Path) -> Path:
    path = tmp_path / "year.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("3a.zip", "3b.zip", "3A.zip"):
            archive.writestr(name, a_class())
        archive.writestr("broken.zip", a_class()[:-40])
        archive.writestr("head.jpg", astronaut_jpeg(192))
    return path


def test_each_class_is_cropped_under_its_name(year: Path, tmp_path: Path) -> None:
    summary = crop(str(year), str(tmp_path / "out"), SMALL_CHUNKS)
    made = result(str(tmp_path / "out"))
    classes = [f"{name}/{photo}" for name in ("3a.zip", "3b.zip", "3A.zip") for photo in NAMES]
    assert [row["path"] for row in made.manifest] == [*classes, "broken.zip", "head.jpg"]
    assert [row["member"] for row in made.manifest] == list(range(17))
    assert (summary.cropped, summary.skipped, summary.failed) == (13, 3, 1)
    assert summary.errors == {"corrupt_entry": 1}
    assert len({name.casefold() for name in made.crops}) == summary.faces == 13
    assert {"crops/3a.zip/anna.jpg_0.jpg", "crops/3b.zip/sub/anna.jpg_0.jpg"} <= set(made.crops)


def test_it_resumes_to_the_same(
    year: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crop(str(year), str(tmp_path / "whole"), SMALL_CHUNKS)

    def fail_later(*arguments: Any) -> Iterator[Any]:
        if arguments[1].number >= 4:
            raise RuntimeError("pulled the plug")
        yield from crop_members(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(chunk, "crop_members", fail_later)
        with pytest.raises(RuntimeError):
            crop(str(year), str(tmp_path / "out"), SMALL_CHUNKS)
    assert crop(str(year), str(tmp_path / "out"), SMALL_CHUNKS).resumed
    assert result(str(tmp_path / "out")) == result(str(tmp_path / "whole"))


def test_one_that_opens_only_later_is_told_and_nothing_is_mixed(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "3a.zip").write_bytes(a_class())
    crop(str(folder), str(tmp_path / "out"), SMALL_CHUNKS)
    record = tmp_path / "out" / "batch.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "members": 1}))
    with pytest.raises(OutputError, match="was made of 1 members"):
        crop(str(folder), str(tmp_path / "out"), SMALL_CHUNKS)
    with pytest.raises(OutputError, match="was made of 1 members"):
        batch.reopen(str(tmp_path / "out"), SMALL_CHUNKS.run)


def test_shards_of_it_are_cropped_without_its_index(
    year: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crop(str(year), str(tmp_path / "whole"), SMALL_CHUNKS)
    out = str(tmp_path / "out")
    planned = batch.plan(str(year), out, SMALL_CHUNKS)
    chunks = list(planned.archive.chunks(planned.chunk_size))
    for number, one in enumerate(chunks):
        planned.output.put_plan(number, encode_chunks([one]))
    monkeypatch.setattr(NestedArchive, "_open", None)  # no index is read again
    for number in reversed(range(len(chunks))):
        opened, mine = batch.open_shard(str(year), out, number, planned.settings, planned.id)
        runner = in_threads(opened, chunk.crop_chunk)
        assert crop_chunks(opened, mine, lambda: None, runner) == (mine[0].count, 1)
    planned.output.finish(17, len(chunks))
    made, whole = result(out), result(str(tmp_path / "whole"))
    assert (made.manifest, made.faces, made.crops) == (whole.manifest, whole.faces, whole.crops)


def test_its_failed_members_are_retried(year: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    crop(str(year), out, SMALL_CHUNKS)
    reopened, failed = batch.reopen(out, SMALL_CHUNKS.run)
    chunks = [one for one in reopened.archive.chunks(reopened.chunk_size) if one.number in failed]
    assert [one.count for one in chunks] == [1]
    with ImagePool(1) as images:
        for one in chunks:
            assert chunk.retry_failed_members(reopened, one, images, last_attempt=True) == 1
    totals = reopened.output.finish(17, 11)
    assert (totals.members, totals.failed) == (17, 1)
    [row] = [row for row in result(out).manifest if row["status"] == "failed"]
    assert (row["path"], row["attempts"]) == ("broken.zip", 2)


def test_a_higher_limit_never_mixes_members_up(tmp_path: Path) -> None:
    heavy = io.BytesIO()
    with zipfile.ZipFile(heavy, "w") as archive:
        archive.writestr("a.jpg", astronaut_jpeg(128))
        archive.writestr("pad.bin", os.urandom(2 << 20))
    with tarfile.open(tmp_path / "year.tar.gz", "w:gz") as year:
        for name, data in [("3a.zip", heavy.getvalue()), ("cut.jpg", astronaut_jpeg(128)[:900])]:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            year.addfile(info, io.BytesIO(data))
    out = str(tmp_path / "out")
    low = CropSettings.model_validate({"limits": {"max_member_mib": 1}})
    assert crop(str(tmp_path / "year.tar.gz"), out, low).failed == 2
    before = result(out)
    raised = LimitSettings(max_member_mib=8, max_nested_mib=65_536)
    reopened, failed = batch.reopen(out, low.run, raised)
    chunks = [one for one in reopened.archive.chunks(reopened.chunk_size) if one.number in failed]
    with ImagePool(1) as images, pytest.raises(OutputError, match="Nothing was changed"):
        chunk.retry_failed_members(reopened, chunks[0], images, last_attempt=True)
    assert result(out) == before


def test_the_setting_leaves_them_closed(year: Path, tmp_path: Path) -> None:
    closed = CropSettings.model_validate({"input": {"nested": 0}})
    summary = crop(str(year), str(tmp_path / "out"), closed)
    assert summary.skips == {"nested_archive": 4}
    assert summary.members == 5

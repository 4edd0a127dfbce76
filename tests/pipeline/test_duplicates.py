"""Photographs that come twice: the first is cropped, whoever works on which of them and when."""

import gzip
import tarfile
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from intake.cli.render import render
from pipeline import batch
from pipeline.chunk import crop_chunk, retry_failed_members
from pipeline.images import ImagePool
from pipeline.local import crop
from pipeline.settings import CropSettings, LimitSettings
from pipeline.summary import Summary
from pipeline.window import crop_chunks, in_threads
from storage.archives.plan import encode_chunks
from storage.errors import OutputError
from tasks.reporting import page
from tests.flows.batches import Result, result
from tests.pictures import astronaut, astronaut_jpeg, encoded, no_face_jpeg
from tests.pipeline.test_report import Page

pytestmark = pytest.mark.slow  # all of them together

FACE = astronaut_jpeg()
SAME_SIZE = FACE[:-1] + b"\xd8"  # another end: the same size, and hardly another picture
PHOTOS: dict[str, bytes] = {
    "a/0.txt": b"not a picture",
    "a/1.jpg": FACE,
    "a/2.jpg": no_face_jpeg(),
    "a/3.jpg": SAME_SIZE,
    "a/4.jpg": b"not a picture",
    "b/5": FACE,
    "b/6.jpg": no_face_jpeg(),
    "b/7.txt": b"not a picture",
    "b/8.png": encoded(astronaut(300), "PNG"),
    "b/9.jpg": FACE,
    "c.jpg": b"",
    "d.jpg": b"",
}
TWICE = {5: 1, 6: 2, 9: 1}


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("archives")
    with zipfile.ZipFile(place / "photos.zip", "w") as packed:
        for name, data in PHOTOS.items():
            packed.writestr(name, data)
            (place / "folder" / name).parent.mkdir(parents=True, exist_ok=True)
            (place / "folder" / name).write_bytes(data)
    with tarfile.open(place / "photos.tar", "w") as tar:
        for name, data in PHOTOS.items():
            header = tarfile.TarInfo(name)
            header.size = len(data)
            tar.addfile(header, BytesIO(data))
    (place / "photos.tar.gz").write_bytes(gzip.compress((place / "photos.tar").read_bytes()))
    (place / "outer").mkdir()
    (place / "outer" / "inner.zip").write_bytes((place / "photos.zip").read_bytes())
    return {
        "zip": place / "photos.zip",
        "tar": place / "photos.tar",
        "stream": place / "photos.tar.gz",
        "folder": place / "folder",
        "nested": place / "outer",
    }


def exact(members: int = 2, **others: Any) -> CropSettings:
    given = {"input": {"dedupe": "exact"}, "chunk": {"members": members}, **others}
    return CropSettings.model_validate(given)


def told(made: Result) -> dict[int, int]:
    return {
        row["member"]: row["duplicate_of"]
        for row in made.manifest
        if row["duplicate_of"] is not None
    }


@pytest.mark.parametrize("kind", ["zip", "tar", "stream", "folder", "nested"])
def test_each_photograph_is_cropped_once_and_the_others_point_to_the_first(
    archives: dict[str, Path], tmp_path: Path, kind: str
) -> None:
    summary = crop(str(archives[kind]), f"{tmp_path}/out", exact())
    whole = result(f"{tmp_path}/out")
    assert told(whole) == TWICE
    assert summary.skips["duplicate"] == 3
    rows = whole.manifest
    for again, first in TWICE.items():
        assert rows[again]["sha256"] == rows[first]["sha256"]
        assert (rows[again]["status"], rows[again]["error"]) == ("skipped", "duplicate")
        assert f"member {first}" in rows[again]["message"]
        assert (rows[again]["faces"], rows[again]["phash"]) == (0, None)
    assert {face["member"] for face in whole.faces} == {1, 3, 8}
    assert len(whole.crops) == 3
    assert rows[1]["phash"] == rows[3]["phash"] != rows[2]["phash"]
    assert [rows[at]["error"] for at in (4, 10, 11)] == ["not_an_image", "empty_file", "empty_file"]
    # however it is cut, by however many
    crop(str(archives[kind]), f"{tmp_path}/one", exact(256, run={"threads": 1}))
    assert result(f"{tmp_path}/one").manifest == rows


def test_a_batch_that_is_resumed_or_cut_into_shards_has_the_same_firsts(
    archives: dict[str, Path], tmp_path: Path
) -> None:
    archive, settings = str(archives["zip"]), exact()
    crop(archive, f"{tmp_path}/out", settings)
    whole = result(f"{tmp_path}/out")
    assert not [name for name in whole.names if "copies" in name]
    (tmp_path / "out/manifest.parquet").unlink()
    for chunk in (0, 4):  # that of the first, and one that points to it
        next((tmp_path / "out/parts").glob(f"{chunk:08}*")).unlink()
    crop(archive, f"{tmp_path}/out", settings)
    assert result(f"{tmp_path}/out") == whole

    planned = batch.plan(archive, f"{tmp_path}/shards", settings)
    chunks = list(planned.chunks())
    for number, one in enumerate(chunks):
        planned.output.put_plan(number, encode_chunks([one]))
    assert list((tmp_path / "shards/plan").glob("copies-*.json"))
    for number in reversed(range(len(chunks))):
        shard, mine = batch.open_shard(archive, f"{tmp_path}/shards", number, planned.settings)
        crop_chunks(shard, mine, lambda: None, in_threads(shard, crop_chunk))
    planned.finish(len(PHOTOS), len(chunks))
    made = result(f"{tmp_path}/shards")
    assert (made.manifest, made.faces, made.crops) == (whole.manifest, whole.faces, whole.crops)
    planned.output.put_copies(b"[]")
    planned.output.remove()
    assert not (tmp_path / "shards").exists()


@pytest.mark.parametrize("layout", ["files", "shards"])
def test_where_the_first_failed_it_is_retried_and_the_others_follow(
    archives: dict[str, Path], tmp_path: Path, layout: str
) -> None:
    output = f"{tmp_path}/out"
    few = {"max_pixels": 20_000}  # a JPEG may have eight times as many
    crop(str(archives["zip"]), output, exact(limits=few, output={"layout": layout}))
    before = result(output)
    assert before.manifest[1]["error"] == "too_many_pixels"
    assert told(before) == TWICE
    reopened, failed = batch.reopen(output, exact().run, LimitSettings(max_pixels=10**8))
    with ImagePool(1) as images:
        for chunk in reopened.chunks():
            if chunk.number in failed:
                retry_failed_members(reopened, chunk, images, last_attempt=True)
    reopened.finish(len(PHOTOS), 6)
    after = result(output)
    assert after.manifest[1]["status"] == "cropped"
    assert told(after) == TWICE
    assert [face["member"] for face in after.faces] == [1, 3, 8]


def test_a_file_that_was_replaced_since_is_cropped(
    archives: dict[str, Path], tmp_path: Path
) -> None:
    planned = batch.plan(str(archives["folder"]), f"{tmp_path}/out", exact())
    chunks = list(planned.chunks())
    file = archives["folder"] / "b" / "9.jpg"
    file.write_bytes(SAME_SIZE)
    try:
        members, count = crop_chunks(planned, chunks, lambda: None, in_threads(planned, crop_chunk))
    finally:
        file.write_bytes(FACE)
    planned.finish(members, count)
    assert told(result(f"{tmp_path}/out")) == {5: 1, 6: 2}


def test_duplicates_are_counted_and_shown(archives: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_text("stem,name\n1,Ann\n9,Ben\n77,Carl\n")
    roster = {"file": f"{tmp_path}/people.csv"}
    summary: Summary = crop(str(archives["zip"]), f"{tmp_path}/out", exact(roster=roster))
    assert "duplicate 3" in render(summary)
    assert "| Skipped: duplicate | 3 |" in page.ended(summary, {})
    assert Page(f"{tmp_path}/out").data["twice"] == [
        ["b/5", "a/1.jpg"], ["b/6.jpg", "a/2.jpg"], ["b/9.jpg", "a/1.jpg"],
    ]  # fmt: skip
    # who is on a photograph that comes again has one
    assert summary.missing_people == 1


def test_what_cannot_be_known_before_is_refused(archives: dict[str, Path], tmp_path: Path) -> None:
    listed = tmp_path / "list.txt"
    listed.write_text(f"{archives['folder']}/a/1.jpg\n")
    with pytest.raises(OutputError, match="does not say how large its files are"):
        batch.plan(str(listed), f"{tmp_path}/out", exact())
    assert not (tmp_path / "out").exists()
    with pytest.raises(ValidationError, match=r"needs run\.existing resume or overwrite"):
        exact(run={"existing": "extend"})

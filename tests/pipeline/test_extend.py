"""A folder, prefix or list that grew is cropped on, into the same output."""

import io
import json
import os
import shutil
import zipfile
from pathlib import Path
from typing import Any

import fsspec
import pytest

from pipeline import chunk, local
from pipeline.batch import Batch, open_shard, plan, reopen
from pipeline.images import ImagePool
from pipeline.local import crop
from pipeline.settings import CropSettings, RunSettings
from pipeline.summary import Summary
from pipeline.window import crop_chunks, in_threads
from storage.archives.plan import encode_chunks
from storage.errors import OutputError
from storage.output.output import Output
from tests.cut_off import cut_off
from tests.flows.batches import Result, files, result
from tests.pictures import astronaut_jpeg
from tests.services import S3

pytestmark = pytest.mark.slow  # all of them together

SETTINGS = CropSettings.model_validate({"chunk": {"members": 2}, "run": {"threads": 2}})
FIRST = ("b.jpg", "c/d.jpg", "c/notes.txt", "m.zip", "x.jpg")
LATER = ("a.jpg", "B.jpg", "c/c.jpg", "n.zip")


def with_run(**run: Any) -> CropSettings:
    return SETTINGS.model_copy(update={"run": RunSettings(threads=2, **run)})


EXTEND = with_run(existing="extend")


def content(name: str) -> bytes:
    if name.endswith(".txt"):
        return b"notes"
    if not name.endswith(".zip"):
        return astronaut_jpeg(128 + 8 * len(name))
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for inner in ("p.jpg", "q.jpg", "r.jpg"):
            archive.writestr(zipfile.ZipInfo(inner), astronaut_jpeg(128))
    return out.getvalue()


def put(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content(name))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    put(tmp_path / "photos", *FIRST)
    return tmp_path / "photos"


def extend(folder: Path | str, output: Path) -> Summary:
    return crop(str(folder), str(output), EXTEND)


def is_idle(summary: Summary) -> bool:
    return "nothing new: the batch has all that is there" in summary.notes


def paths(made: Result) -> list[str]:
    return [row["path"] for row in made.manifest]


def written(output: Path) -> dict[str, int]:
    """When each file of an output was written."""
    every = (path for path in output.rglob("*") if path.is_file())
    return {str(path.relative_to(output)): path.stat().st_mtime_ns for path in every}


NOW = ["b.jpg", "c/d.jpg", "c/notes.txt", "m.zip/p.jpg", "m.zip/q.jpg", "m.zip/r.jpg", "x.jpg"]
THEN = [*NOW, "B.jpg", "a.jpg", "c/c.jpg", "n.zip/p.jpg", "n.zip/q.jpg", "n.zip/r.jpg"]


@pytest.mark.parametrize("layout", ["files", "parquet"])
def test_what_is_new_follows_and_all_else_stays(photos: Path, tmp_path: Path, layout: str) -> None:
    output = tmp_path / "out"
    chosen = {"output": SETTINGS.output.model_copy(update={"layout": layout})}
    crop(str(photos), str(output), SETTINGS.model_copy(update=chosen))
    before, times = result(str(output)), written(output)
    assert paths(before) == NOW

    put(photos, *LATER)
    extending = EXTEND.model_copy(update=chosen)
    summary = crop(str(photos), str(output), extending)
    made = result(str(output))
    assert paths(made) == THEN
    assert [row["member"] for row in made.manifest] == list(range(13))
    assert (summary.members, summary.resumed, summary.failed) == (13, 7, 0)
    assert made.manifest[:7] == before.manifest
    assert made.faces[: len(before.faces)] == before.faces
    assert before.crops.items() <= made.crops.items()
    assert len(made.crops) > len(before.crops)
    again = written(output)
    kept = [name for name in times if name.startswith(("parts/", "crops/", "batch.json"))]
    assert kept
    assert all(again[name] == times[name] for name in kept)

    same = crop(str(photos), str(output), extending)
    assert same.notes == ["nothing new: the batch has all that is there"]
    assert (same.members, same.resumed, same.faces) == (13, 13, summary.faces)
    assert written(output) == again

    (output / "manifest.parquet").unlink()
    crop(str(photos), str(output), SETTINGS.model_copy(update=chosen))
    assert result(str(output)) == made


def test_what_is_gone_or_another_one_is_told_and_stays(photos: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    crop(str(photos), str(output), SETTINGS)
    before = result(str(output))
    (photos / "b.jpg").unlink()
    (photos / "m.zip").unlink()
    (photos / "x.jpg").write_bytes(b"another one")
    os.utime(photos / "c/d.jpg", ns=(1, 1))
    put(photos, "y.jpg")
    summary = extend(photos, output)
    made = result(str(output))
    assert paths(made) == [*NOW, "y.jpg"]
    assert made.manifest[:7] == before.manifest
    assert before.crops.items() <= made.crops.items()
    rows = (output / "changes.csv").read_text("utf-8-sig").splitlines()
    size = len(content("b.jpg"))
    assert rows[:2] == ["member,path,change,bytes,bytes_now", f"0,b.jpg,gone,{size},"]
    assert [row.split(",")[:3] for row in rows[2:]] == [
        ["1", "c/d.jpg", "changed"],
        ["3", "m.zip", "gone"],
        ["6", "x.jpg", "changed"],
    ]
    assert (summary.gone, summary.changed) == (2, 2)
    (note,) = summary.notes
    assert "gone: 2, changed: 2" in note
    assert note in (output / "report.html").read_text("utf-8")
    assert is_idle(extend(photos, output))

    put(photos, "b.jpg")
    os.utime(photos / "b.jpg", ns=(5, 5))
    summary = extend(photos, output)
    assert (summary.members, summary.gone, summary.changed) == (8, 1, 3)
    assert result(str(output)).manifest == made.manifest


STEPS = [
    (Output, "put_changes", 0),
    (Output, "add_lot", 0),
    (Output, "put_part", 0),
    (Output, "put_part", 2),
    (Output, "finish", 0),
    (local, "write_report", 0),
]


@pytest.mark.parametrize("existing", ["extend", "resume"])
@pytest.mark.parametrize(("where", "name", "passes"), STEPS)
def test_cut_off_anywhere_it_goes_on(
    photos: Path, tmp_path: Path, where: Any, name: str, passes: int, existing: str
) -> None:
    output, whole = tmp_path / "out", tmp_path / "whole"
    crop(str(photos), str(output), SETTINGS)
    shutil.copytree(output, whole)
    put(photos, *LATER)
    (photos / "x.jpg").unlink()
    extend(photos, whole)
    cut_off(lambda: extend(photos, output), where, name, passes)
    if existing == "resume" and name in ("put_changes", "add_lot"):
        with pytest.raises(OutputError, match="or extend it"):  # nothing was taken in yet
            crop(str(photos), str(output), SETTINGS)
        existing = "extend"
    crop(str(photos), str(output), with_run(existing=existing))
    assert result(str(output)) == result(str(whole))
    assert (output / "changes.csv").read_bytes() == (whole / "changes.csv").read_bytes()
    assert "changes.csv" in (output / "report.html").read_text("utf-8")
    assert is_idle(extend(photos, output))


def test_a_batch_that_is_not_finished_is_finished_too(photos: Path, tmp_path: Path) -> None:
    output, whole = tmp_path / "out", tmp_path / "whole"
    cut_off(lambda: crop(str(photos), str(output), SETTINGS), Output, "put_part", 1)
    put(photos, *LATER)
    summary = extend(photos, output)
    assert (summary.members, summary.failed) == (13, 0)
    assert paths(result(str(output))) == THEN

    for name in LATER:
        (photos / name).unlink()
    crop(str(photos), str(whole), SETTINGS)
    put(photos, *LATER)
    extend(photos, whole)
    assert result(str(output)) == result(str(whole))


def test_an_archive_that_is_gone_before_it_was_cropped_is_told(
    photos: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    cut_off(lambda: crop(str(photos), str(output), SETTINGS), Output, "put_part", 0)
    (photos / "m.zip").unlink()
    with pytest.raises(OutputError, match="Put them back"):
        extend(photos, output)


def test_a_list_grows(photos: Path, tmp_path: Path) -> None:
    output, lines = tmp_path / "out", ["x.jpg", "b.jpg", "b.jpg"]
    listing = photos / "photos.txt"
    listing.write_text("\n".join(lines))
    crop(str(listing), str(output), SETTINGS)
    before = result(str(output))
    put(photos, "a.jpg")
    listing.write_text("\n".join(["a.jpg", "b.jpg", "b.jpg", "b.jpg", "c/d.jpg"]))
    summary = extend(listing, output)
    made = result(str(output))
    assert paths(made) == ["x.jpg", "b.jpg", "b.jpg", "a.jpg", "b.jpg", "c/d.jpg"]
    assert made.manifest[:3] == before.manifest
    assert len(made.crops) == summary.faces == 6
    assert (summary.gone, summary.changed) == (1, 0)
    opened, _ = open_shard_again(listing, output)
    assert opened.archive.kind == "list"


def open_shard_again(archive: Path, output: Path) -> tuple[Batch, int]:
    """One shard with all that is not settled, as another machine opens it."""
    planned = plan(str(archive), str(output), SETTINGS)
    planned.output.put_plan(0, encode_chunks(list(planned.chunks())))
    opened, chunks = open_shard(str(archive), str(output), 0, SETTINGS, planned.id)
    members, _ = crop_chunks(opened, chunks, lambda: None, in_threads(opened, chunk.crop_chunk))
    return opened, members


def test_shards_on_other_machines_have_what_is_new(photos: Path, tmp_path: Path) -> None:
    output, whole = tmp_path / "out", tmp_path / "whole"
    crop(str(photos), str(output), SETTINGS)
    shutil.copytree(output, whole)
    put(photos, *LATER)
    extend(photos, whole)
    batch = plan(str(photos), str(output), EXTEND)
    assert batch.settled.members == 7
    _, members = open_shard_again(photos, output)
    assert members == 6
    crop(str(photos), str(output), SETTINGS)
    assert result(str(output)) == result(str(whole))


def test_failed_ones_are_retried_afterwards(photos: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    crop(str(photos), str(output), SETTINGS)
    put(photos, "z.jpg")
    (photos / "y.jpg").write_bytes(b"\xff\xd8\xff no picture")
    assert extend(photos, output).failed == 1
    before = result(str(output))
    batch, failed = reopen(str(output), RunSettings(threads=2))
    assert batch.settled.members == 7
    chunks = list(batch.archive.chunks(batch.chunk_size))

    def again(images: Any) -> int:
        some = (one for one in chunks if one.number in failed)
        return sum(
            chunk.retry_failed_members(batch, one, images, last_attempt=True) for one in some
        )

    with ImagePool(2) as images:
        assert again(images) == 1
    totals = batch.finish(sum(one.count for one in chunks), len(chunks))
    assert totals.members == 9
    after = result(str(output))
    assert [row["attempts"] for row in after.manifest] == [*[1] * 7, 2, 1]
    assert after.crops == before.crops


def test_what_runs_meanwhile_does_not_undo_it(photos: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    crop(str(photos), str(output), SETTINGS)
    slow = plan(str(photos), str(output), SETTINGS)
    put(photos, "z.jpg")
    extend(photos, output)
    with pytest.raises(OutputError, match="was extended by another run meanwhile"):
        slow.finish(7, 5)
    assert len(result(str(output)).manifest) == 8


def test_a_batch_of_an_older_facecrop_is_extended(photos: Path, tmp_path: Path) -> None:
    output, whole, unfinished = tmp_path / "out", tmp_path / "whole", tmp_path / "unfinished"
    crop(str(photos), str(output), SETTINGS)
    shutil.copytree(output, whole)
    shutil.rmtree(output / "lots")
    shutil.copytree(output, unfinished)
    (unfinished / "manifest.parquet").unlink()
    put(photos, *LATER)
    (photos / "x.jpg").unlink()
    assert extend(photos, output).gone == 1
    extend(photos, whole)
    assert result(str(output)) == result(str(whole))
    with pytest.raises(OutputError, match="an older Facecrop began and did not finish"):
        extend(photos, unfinished)


def test_other_batches_are_refused(photos: Path, tmp_path: Path) -> None:
    output, archive = tmp_path / "out", photos / "m.zip"
    crop(str(archive), str(output), SETTINGS)
    assert extend(archive, output).members == 3
    archive.write_bytes(content("m.zip") + b" ")
    with pytest.raises(OutputError, match="only a folder, a prefix or a list can be extended"):
        extend(archive, output)
    other = EXTEND.model_copy(update={"crop": EXTEND.crop.model_copy(update={"size": 99})})
    crop(str(photos), str(tmp_path / "folder"), SETTINGS)
    put(photos, "z.jpg")
    with pytest.raises(OutputError, match=r"crop\.size: 300 there, 99 now"):
        crop(str(photos), str(tmp_path / "folder"), other)


def test_overwriting_removes_its_lots(photos: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    crop(str(photos), str(output), SETTINGS)
    (photos / "b.jpg").unlink()
    put(photos, "z.jpg")
    extend(photos, output)
    assert len(list((output / "lots").iterdir())) == 2
    crop(str(photos), str(output), with_run(existing="overwrite"))
    assert len(list((output / "lots").iterdir())) == 1
    assert not (output / "changes.csv").exists()
    Output(str(output)).remove()
    assert not output.exists()


def test_a_prefix_of_an_object_store_grows(photos: Path, tmp_path: Path, s3: S3) -> None:
    fs = fsspec.filesystem("s3", use_listings_cache=False)
    place, output = f"{s3.bucket}/{tmp_path.name}", f"s3://{s3.bucket}/{tmp_path.name}-out"
    fs.pipe({f"{place}/{name}": content(name) for name in FIRST})
    crop(f"s3://{place}", output, SETTINGS)
    before = files(output)
    fs.pipe({f"{place}/{name}": content(name) for name in LATER})
    fs.pipe_file(f"{place}/x.jpg", content("c/d.jpg"))
    summary = crop(f"s3://{place}", output, EXTEND)
    assert paths(result(output)) == THEN
    assert (summary.gone, summary.changed) == (0, 1)
    after = files(output)
    kept = {name for name in before if name.startswith(("crops/", "parts/", "batch.json"))}
    assert kept
    assert all(after[name] == before[name] for name in kept)
    assert json.loads(after["batch.json"])["members"] == 7
    assert is_idle(crop(f"s3://{place}", output, EXTEND))

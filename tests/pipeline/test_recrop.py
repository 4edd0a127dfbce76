"""The faces of a finished batch, cut out another way."""

from __future__ import annotations

import json
import shutil
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import fsspec
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pipeline.batch import reopen
from pipeline.local import crop
from pipeline.recrop import chunk
from pipeline.recrop.local import recrop
from pipeline.recrop.settings import RecropSettings
from pipeline.settings import CropSettings, RunSettings
from pipeline.summary import Summary
from storage.errors import OutputError
from storage.fs.location import RangeReader
from storage.output.output import Output
from tests.flows.batches import result
from tests.pictures import astronaut, astronaut_jpeg, encoded, group, no_face_jpeg
from tests.services import S3

pytestmark = pytest.mark.slow  # all of them together

SMALL_CHUNKS = {"chunk": {"members": 8}}


def batch(archive: Path | str, at: Path | str, **settings: Any) -> Summary:
    return crop(str(archive), str(at), CropSettings.model_validate(settings))


def again(of: Path | str, into: Path | str, **settings: Any) -> list[Summary]:
    return recrop(str(of), str(into), RecropSettings.model_validate(settings))


def rows(output: Path, table: str = "manifest") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(output / f"{table}.parquet").to_pylist()
    return found


@pytest.fixture(scope="module")
def cropped(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A batch of every kind of member, in five chunks."""
    output = tmp_path_factory.mktemp("recrop") / "batch"
    batch(sample, output, **SMALL_CHUNKS)
    return output


def same(at: Path | str, expected_at: Path | str) -> None:
    # by their paths: what is packed beside them, as JSON, had more digits than a table keeps
    assert dict(Output(str(at)).crops()) == dict(Output(str(expected_at)).crops())
    made, expected = result(str(at)), result(str(expected_at))
    lots = [name for name in expected.names if name.startswith("lots/")]  # it is not extended
    assert made.names == [name for name in expected.names if name not in lots]
    assert made.faces == expected.faces
    assert made.manifest == expected.manifest
    assert made.failed == expected.failed


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"crop": {"preset": "avatar", "format": "webp", "metadata": "safe"}},
        {"crop": {"size": 0, "padding": 1, "max_faces": 2, "pick": "best"}},
        {"output": {"layout": "shards"}},
        {"output": {"layout": "parquet"}},
        {"keep": {"min_sharpness": 0.3, "else": "folder"}},
        {"keep": {"min_sharpness": 0.3, "else": "drop"}},
        {"output": {"name": "{stem}_{rank:02d}_{member}"}, "input": {"dedupe": "exact"}},
    ],
    ids=str,
)
def test_cut_as_the_batch_was_all_is_the_same(
    sample: Path, tmp_path: Path, how: dict[str, Any]
) -> None:
    batch(sample, tmp_path / "batch", **SMALL_CHUNKS, **how)
    cut = dict(how.get("crop", {}))
    cut.pop("pick", None)  # faces keep the order that they have
    layout = how.get("output", {}).get("layout", "files")
    [summary] = again(tmp_path / "batch", tmp_path / "again", crop=cut, layout=layout)
    same(tmp_path / "again", tmp_path / "batch")
    assert summary.counts == Output(str(tmp_path / "batch")).totals()
    assert (tmp_path / "again/report.html").exists()


def test_a_batch_of_blurred_photographs_has_faces_to_cut(sample: Path, tmp_path: Path) -> None:
    batch(sample, tmp_path / "blurred", output={"kind": "blurred"})
    batch(sample, tmp_path / "crops")
    again(tmp_path / "blurred", tmp_path / "again")
    made, expected = result(str(tmp_path / "again")), result(str(tmp_path / "crops"))
    assert made.crops == expected.crops
    assert {row["status"] for row in made.manifest} == {row["status"] for row in expected.manifest}
    assert not any(row["file"] for row in made.manifest)


def test_several_ways_are_outputs_of_their_own(cropped: Path, tmp_path: Path) -> None:
    cuts = {"id": {"preset": "id-35x45"}, "Small": {"size": 112, "format": "png", "max_faces": 1}}
    both = again(cropped, tmp_path / "again", cuts=cuts)
    assert [Path(one.output).name for one in both] == ["id", "Small"]
    whole, small = (result(one.output) for one in both)
    with Image.open(BytesIO(next(iter(whole.crops.values())))) as picture:
        assert picture.size == (413, 531)
    assert {face["crop_w"] for face in small.faces} == {112}
    assert {face["rank"] for face in small.faces} == {0}
    known = result(str(cropped))
    found = [{name: face[name] for name in ("member", "x", "y", "score")} for face in known.faces]
    assert [{name: face[name] for name in found[0]} for face in whole.faces] == found
    assert len(whole.manifest) == len(small.manifest) == len(known.manifest)
    assert both[0].failed == both[1].failed == 1

    # a further one can be added; what was made along with others is not mixed with what was not
    again(cropped, tmp_path / "again", cuts={"more": {"size": 64}})
    with pytest.raises(OutputError, match=r"recrop\.along_with"):
        again(cropped, tmp_path / "again", cuts={"Small": cuts["Small"]})


def test_the_faces_that_are_wanted_alone(cropped: Path, tmp_path: Path) -> None:
    [summary] = again(cropped, tmp_path / "again", where="rank = 1 and path like '%group%'")
    everyone, wanted = rows(cropped, "faces"), rows(tmp_path / "again", "faces")
    expected = [one for one in everyone if one["rank"] == 1 and "group" in one["path"]]
    assert wanted == expected
    crops = result(str(tmp_path / "again")).crops
    assert sorted(crops) == sorted(one["crop"] for one in expected)
    assert all(data == (cropped / name).read_bytes() for name, data in crops.items())
    before = rows(cropped)
    for row, old in zip(rows(tmp_path / "again"), before, strict=True):
        if row["member"] in {one["member"] for one in expected}:
            assert (row["status"], row["faces"]) == ("cropped", 1)
        elif old["faces"]:
            assert (row["status"], row["error"], row["faces"]) == ("skipped", "not_wanted", 0)
        else:
            assert (row["status"], row["error"]) == (old["status"], old["error"])
    assert summary.skips["not_wanted"] == summary.members - len(expected) - sum(
        not row["faces"] for row in before
    )
    assert summary.notes[0] == (
        f"cut from the {len(everyone)} faces of {cropped}, of which those are wanted where "
        "rank = 1 and path like '%group%'"
    )
    assert "not_wanted" in (tmp_path / "again/skipped.csv").read_text()


def test_nothing_but_wanted_photographs_is_read(
    cropped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    member = 3
    ranges: list[tuple[int, int]] = []
    read = RangeReader.read

    def noted(self: RangeReader, start: int, end: int) -> bytes:
        ranges.append((start, end))
        return read(self, start, end)

    [archive] = {json.loads((cropped / "batch.json").read_text())["archive"]["uri"]}
    with zipfile.ZipFile(archive) as opened:
        infos = opened.infolist()
    begin, end = infos[member].header_offset, infos[member + 1].header_offset
    directory = opened.start_dir
    monkeypatch.setattr(RangeReader, "read", noted)
    again(cropped, tmp_path / "again", where=f"member = {member}")
    of_members = [one for one in ranges if one[1] <= directory and one[0]]
    assert of_members == [(begin, end)]


def test_a_recrop_that_was_killed_goes_on(
    cropped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cuts = {"a": {"size": 80}, "b": {"size": 90}}
    again(cropped, tmp_path / "whole", cuts=cuts)
    put, left = Output.put_part, [5]

    def dies(self: Output, number: int, data: bytes) -> None:
        if left[0] == 0:
            raise KeyboardInterrupt
        left[0] -= 1
        put(self, number, data)

    with monkeypatch.context() as patch:
        patch.setattr(Output, "put_part", dies)
        with pytest.raises(KeyboardInterrupt):
            again(cropped, tmp_path / "again", cuts=cuts)
    parts = [len(list((tmp_path / f"again/{name}/parts").iterdir())) for name in cuts]
    assert sum(parts) == 5
    first = next((tmp_path / "again/a/parts").iterdir())
    written = first.stat().st_mtime_ns
    summaries = again(cropped, tmp_path / "again", cuts=cuts)
    assert first.stat().st_mtime_ns == written
    assert summaries[0].resumed
    for name in cuts:
        same(tmp_path / f"again/{name}", tmp_path / f"whole/{name}")

    with monkeypatch.context() as patch:  # finished, there is nothing to read again
        patch.setattr(chunk, "recut_members", None)
        again(cropped, tmp_path / "again", cuts=cuts)


def test_what_cannot_be_cut_again_is_told(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in ("a", "b", "c", "d"):
        (photos / f"{name}.jpg").write_bytes(astronaut_jpeg())
    (photos / "nobody.jpg").write_bytes(no_face_jpeg())
    names = ["a.jpg", "b.jpg", "c.jpg", "d.jpg", "nobody.jpg"]
    (tmp_path / "list.txt").write_text("\n".join(f"photos/{name}" for name in names))
    batch(tmp_path / "list.txt", tmp_path / "batch")
    (photos / "b.jpg").write_bytes(encoded(astronaut(), "JPEG", quality=60))
    (photos / "c.jpg").write_bytes(b"")
    (photos / "d.jpg").unlink()
    (photos / "nobody.jpg").unlink()  # of which nothing is read
    [summary] = again(tmp_path / "batch", tmp_path / "again")
    found = rows(tmp_path / "again")
    assert [row["status"] for row in found] == ["cropped", *["failed"] * 3, "no_face"]
    assert [row["error"] for row in found] == [None, "changed", "changed", "missing", None]
    assert "crop the archive again" in found[1]["message"]
    assert found[1]["sha256"] != rows(tmp_path / "batch")[1]["sha256"]
    assert summary.errors == {"changed": 2, "missing": 1}
    assert list(result(str(tmp_path / "again")).crops) == ["crops/photos/a.jpg_0.jpg"]

    # what is there by now is cut, when it is run again; nothing else is
    (photos / "d.jpg").write_bytes(astronaut_jpeg())
    [summary] = again(tmp_path / "batch", tmp_path / "again")
    assert (summary.errors, summary.cropped) == ({"changed": 2}, 2)
    assert [row["status"] for row in rows(tmp_path / "again")][3] == "cropped"
    with pytest.raises(OutputError, match=r"was cut from the faces of .*batch: retry what failed"):
        reopen(str(tmp_path / "again"), RunSettings())


def test_a_batch_that_was_extended_is_recropped_whole(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "b.jpg").write_bytes(astronaut_jpeg())
    batch(photos, tmp_path / "batch")
    again(tmp_path / "batch", tmp_path / "before")
    (photos / "a.jpg").write_bytes(astronaut_jpeg(600))
    batch(photos, tmp_path / "batch", run={"existing": "extend"})
    again(tmp_path / "batch", tmp_path / "after")
    same(tmp_path / "after", tmp_path / "batch")
    assert [row["path"] for row in rows(tmp_path / "after")] == ["b.jpg", "a.jpg"]
    with pytest.raises(OutputError, match=r"now\)\. Name another output\.$"):
        again(tmp_path / "batch", tmp_path / "before")


def test_faces_of_an_older_facecrop_are_cut_and_doubts_told(cropped: Path, tmp_path: Path) -> None:
    shutil.copytree(cropped, tmp_path / "old")
    later = {"landmarks", "turn", "yaw", "pitch", "sharpness_scale", "page", "kept", "kept_why"}
    for path in (tmp_path / "old/parts").iterdir():
        table = pq.read_table(path)
        kept = [
            {
                **{name: value for name, value in row.items() if name not in ("pages", "not_kept")},
                "face_rows": [
                    {name: value for name, value in face.items() if name not in later}
                    for face in row["face_rows"]
                ],
            }
            for row in table.to_pylist()
        ]
        metadata = table.schema.metadata
        older = type(table).from_pylist(kept).replace_schema_metadata(metadata)
        pq.write_table(older, path)
    [plain] = again(tmp_path / "old", tmp_path / "plain")
    assert sorted(result(plain.output).crops) == sorted(result(str(cropped)).crops)
    [aligned] = again(tmp_path / "old", tmp_path / "aligned", crop={"preset": "id-35x45"})
    assert aligned.warnings["unaligned"] == aligned.cropped > 0
    assert aligned.faces == plain.faces


def test_outputs_that_are_none_are_refused_in_a_line(
    cropped: Path, sample: Path, tmp_path: Path
) -> None:
    again(cropped, tmp_path / "again", where="rank = 0")

    def refused(said: str, output: Path, into: Path, **settings: Any) -> None:
        with pytest.raises(OutputError, match=said) as caught:
            again(output, into, **settings)
        assert "\n" not in str(caught.value)

    refused("holds no batch", tmp_path, tmp_path / "x")
    unfinished = tmp_path / "unfinished"
    shutil.copytree(cropped, unfinished)
    (unfinished / "manifest.parquet").unlink()
    refused("no finished batch. Run the batch to its end", unfinished, tmp_path / "x")
    refused("which stays as it is", cropped, cropped)
    refused("which stays as it is", cropped, cropped / "crops", run={"existing": "overwrite"})
    refused(r"recrop\.where: 'rank = 0' there, '' now", cropped, tmp_path / "again")
    refused("in the order of largest", cropped, tmp_path / "x", crop={"pick": "best"})
    with pytest.raises(OutputError, match="holds another batch"):
        batch(sample, tmp_path / "again", **SMALL_CHUNKS)
    with pytest.raises(ValueError, match="a recrop is not extended"):
        RecropSettings.model_validate({"run": {"existing": "extend"}})
    for names in (["../x"], ["a/b"], ["a", "A"], [""]):
        with pytest.raises(ValueError, match="name"):
            RecropSettings.model_validate({"cuts": {name: {} for name in names}})
    assert not (tmp_path / "x").exists()

    # another recrop takes its place when that is said, and one of a recrop's faces is one, too
    again(cropped, tmp_path / "again", run={"existing": "overwrite"})
    same(tmp_path / "again", cropped)
    again(tmp_path / "again", tmp_path / "third")
    assert sorted(result(str(tmp_path / "third")).crops) == sorted(result(str(cropped)).crops)


def test_archives_of_every_kind_give_their_photographs(tmp_path: Path, s3: S3) -> None:
    photos = {
        "a/1.jpg": astronaut_jpeg(), "a/2.jpg": no_face_jpeg(), "b.jpg": astronaut_jpeg(600),
        "n.txt": b"none", "c.png": encoded(group((300, 200), (600, 300)), "PNG"),
    }  # fmt: skip
    inner = BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        for name, data in photos.items():
            archive.writestr(name, data)
    outer = tmp_path / "outer.zip"
    with zipfile.ZipFile(outer, "w") as archive:
        archive.writestr("first.jpg", astronaut_jpeg(400))
        archive.writestr("inner.zip", inner.getvalue())
        archive.writestr("last.jpg", astronaut_jpeg(450))
    folder = tmp_path / "folder"
    for name, data in photos.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    made = {"nested": str(outer), "folder": str(folder)}
    for kind in ("tar", "gztar"):
        made[kind] = shutil.make_archive(str(tmp_path / kind), kind, folder)
    fsspec.filesystem("s3").put(str(outer), f"{s3.bucket}/recrop/outer.zip")
    made["s3"] = f"s3://{s3.bucket}/recrop/outer.zip"
    for name, archive_uri in made.items():
        place = f"s3://{s3.bucket}/recrop/{name}" if name == "s3" else str(tmp_path / f"out-{name}")
        batch(archive_uri, f"{place}/batch", **SMALL_CHUNKS)
        again(f"{place}/batch", f"{place}/again")
        same(f"{place}/again", f"{place}/batch")
        [some] = again(f"{place}/batch", f"{place}/some", where="path like '%b.jpg'")
        assert (some.cropped, some.faces, some.failed) == (1, 1, 0)

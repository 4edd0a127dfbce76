"""A batch over every kind of archive and storage."""

import io
import json
import tarfile
import zipfile
from pathlib import Path

import fsspec
import pytest
import zstandard

from pipeline.local import crop
from pipeline.settings import CropSettings
from storage.errors import OutputError
from tests.flows.batches import Result, picture, result
from tests.services import S3, web_server

pytestmark = pytest.mark.slow  # all of them together

SMALL_CHUNKS = CropSettings.model_validate({"chunk": {"members": 8}})


@pytest.fixture(scope="module")
def expected(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Result:
    """What the sample gives from a ZIP on local disk."""
    output = tmp_path_factory.mktemp("expected") / "out"
    crop(str(sample), str(output), SMALL_CHUNKS)
    return result(str(output))


def test_every_member_has_one_row_and_every_face_one_crop(sample: Path, expected: Result) -> None:
    with zipfile.ZipFile(sample) as archive:
        names = archive.namelist()
    assert [row["path"] for row in expected.manifest] == names
    assert [row["member"] for row in expected.manifest] == list(range(len(names)))
    statuses = {row["status"] for row in expected.manifest}
    assert statuses == {"cropped", "no_face", "skipped", "failed"}
    assert sum(row["faces"] for row in expected.manifest) == len(expected.faces)
    assert {row["crop"] for row in expected.faces} == set(expected.crops)
    for row in expected.manifest:
        assert (row["faces"] > 0) == (row["status"] == "cropped")
        assert (row["error"] is not None) == (row["status"] in ("skipped", "failed"))
        assert (row["width"] is not None) == (row["status"] in ("cropped", "no_face"))


def test_crops_are_pictures_of_the_size_asked_for(expected: Result) -> None:
    assert expected.crops
    for data in expected.crops.values():
        assert picture(data).shape == (300, 300, 3)


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "tar.zst"])
def test_a_tar_gives_what_a_zip_gives(
    kind: str, sample: Path, expected: Result, tmp_path: Path
) -> None:
    archive = tmp_path / f"sample.{kind}"
    archive.write_bytes(_as_tar(sample, kind))
    crop(str(archive), str(tmp_path / "out"), SMALL_CHUNKS)
    found = result(str(tmp_path / "out"))
    assert (found.manifest, found.faces) == (expected.manifest, expected.faces)
    assert found.crops == expected.crops


def test_a_folder_and_a_list_give_what_a_zip_gives(
    sample: Path, expected: Result, tmp_path: Path
) -> None:
    folder = tmp_path / "photos"
    with zipfile.ZipFile(sample) as archive:
        archive.extractall(folder)
        names = archive.namelist()
    crop(str(folder), str(tmp_path / "from-folder"), SMALL_CHUNKS)
    found = result(str(tmp_path / "from-folder"))
    assert found.crops == expected.crops
    assert len(found.manifest) == len(expected.manifest)

    listing = tmp_path / "photos.txt"
    listing.write_text("\n".join(f"photos/{name}" for name in names), encoding="utf-8")
    crop(str(listing), str(tmp_path / "from-list"), SMALL_CHUNKS)
    rows = result(str(tmp_path / "from-list")).manifest
    assert [row["sha256"] for row in rows] == [row["sha256"] for row in expected.manifest]
    assert [row["faces"] for row in rows] == [row["faces"] for row in expected.manifest]


def test_s3_to_s3_gives_the_same_rows_and_bytes(sample: Path, expected: Result, s3: S3) -> None:
    fs = fsspec.filesystem("s3")
    fs.put_file(str(sample), f"{s3.bucket}/in/sample.zip")
    output = f"s3://{s3.bucket}/sample-out"
    crop(f"s3://{s3.bucket}/in/sample.zip", output, SMALL_CHUNKS)
    assert result(output) == expected


def test_the_same_from_memory_and_from_the_web(
    sample: Path, expected: Result, tmp_path: Path
) -> None:
    fsspec.filesystem("memory").pipe_file("/in/sample.zip", sample.read_bytes())
    crop("memory://in/sample.zip", "memory://sample-out", SMALL_CHUNKS)
    assert result("memory://sample-out") == expected
    with web_server(sample.parent) as address:
        crop(f"{address}/{sample.name}", str(tmp_path / "out"), SMALL_CHUNKS)
    assert result(str(tmp_path / "out")) == expected


def test_threads_and_chunks_change_nothing_in_the_result(
    sample: Path, expected: Result, tmp_path: Path
) -> None:
    for threads, members in ((1, 1000), (5, 3)):
        output = str(tmp_path / f"{threads}")
        settings = {"chunk": {"members": members}, "run": {"threads": threads}}
        crop(str(sample), output, CropSettings.model_validate(settings))
        found = result(output)
        assert (found.crops, found.manifest) == (expected.crops, expected.manifest)


@pytest.mark.parametrize(
    ("kind", "shard", "chunk"),
    [
        ("zip", 10_000, {"members": 256, "mib": 256}),
        ("tar.gz", 10_000, {"members": 256, "mib": 64}),  # is held in memory as a whole
        ("zip", 7, {"members": 7, "mib": 256}),
    ],
)
def test_how_large_a_chunk_is(
    sample: Path, tmp_path: Path, kind: str, shard: int, chunk: dict[str, int]
) -> None:
    archive = tmp_path / f"sample.{kind}"
    archive.write_bytes(sample.read_bytes() if kind == "zip" else _as_tar(sample, kind))
    settings = CropSettings.model_validate({"run": {"shard_members": shard}})
    crop(str(archive), str(tmp_path / "out"), settings)
    record = json.loads((tmp_path / "out" / "batch.json").read_text())
    assert record["settings"]["chunk"] == chunk


def test_shards_hold_the_same_crops(sample: Path, expected: Result, tmp_path: Path) -> None:
    settings = {"chunk": {"members": 8}, "output": {"layout": "shards"}}
    crop(str(sample), str(tmp_path / "out"), CropSettings.model_validate(settings))
    found = result(str(tmp_path / "out"))
    packed: dict[str, bytes] = {}
    for path, data in found.crops.items():
        with tarfile.open(fileobj=io.BytesIO(data)) as shard:
            for member in shard:
                content = shard.extractfile(member)
                assert content is not None
                packed[f"{path}/{member.name}"] = content.read()
    crops = [packed[row["crop"]] for row in found.faces]
    assert crops == [expected.crops[row["crop"]] for row in expected.faces]
    assert sum(name.endswith(".json") for name in packed) == len(found.faces)


@pytest.mark.parametrize("later", [SMALL_CHUNKS, CropSettings()], ids=["the same", "defaults"])
def test_a_batch_goes_on_where_it_stopped(
    sample: Path, expected: Result, tmp_path: Path, later: CropSettings
) -> None:
    # with the chunks that it was begun with, whatever those of a new batch are
    output = tmp_path / "out"
    crop(str(sample), str(output), SMALL_CHUNKS)
    [kept] = output.glob("parts/00000000-*")
    before = kept.stat()
    [lost] = output.glob("parts/00000002-*")
    lost.unlink()
    (output / "manifest.parquet").unlink()
    summary = crop(str(sample), str(output), later)
    assert summary.resumed == summary.members - 8
    assert kept.stat().st_mtime_ns == before.st_mtime_ns
    assert result(str(output)) == expected


def test_another_batch_is_refused_unless_it_may_be_overwritten(
    sample: Path, tmp_path: Path
) -> None:
    crop(str(sample), str(tmp_path), SMALL_CHUNKS)
    other = {"chunk": {"members": 8}, "crop": {"size": 100}}
    with pytest.raises(OutputError, match=r"crop\.size: 300 there, 100 now"):
        crop(str(sample), str(tmp_path), CropSettings.model_validate(other))
    other["run"] = {"existing": "overwrite"}  # type: ignore[dict-item]
    crop(str(sample), str(tmp_path), CropSettings.model_validate(other))
    sizes = {picture(data).shape for data in result(str(tmp_path)).crops.values()}
    assert sizes == {(100, 100, 3)}


def _as_tar(sample: Path, kind: str) -> bytes:
    sink = io.BytesIO()
    mode = "w:gz" if kind == "tar.gz" else "w"
    with zipfile.ZipFile(sample) as source, tarfile.open(fileobj=sink, mode=mode) as tar:  # type: ignore[call-overload]
        for name in source.namelist():
            header = tarfile.TarInfo(name)
            header.size = source.getinfo(name).file_size
            tar.addfile(header, io.BytesIO(source.read(name)))
    data = sink.getvalue()
    return zstandard.compress(data) if kind == "tar.zst" else data

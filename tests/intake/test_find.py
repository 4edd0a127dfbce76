"""`facecrop find`: which batches have a photograph, and what became of it."""

import hashlib
import json
from pathlib import Path
from typing import Any

import fsspec
import pyarrow.parquet as pq
import pytest

from intake.cli.main import main
from pipeline.local import crop
from pipeline.settings import CropSettings
from storage.output.finding import Wanted
from storage.output.output import Output
from tests.pictures import astronaut_jpeg
from tests.services import S3

pytestmark = pytest.mark.slow

SETTINGS = CropSettings.model_validate({"chunk": {"members": 2}, "run": {"threads": 2}})
FACE, OTHER = astronaut_jpeg(128), astronaut_jpeg(160)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("store")
    photos = place / "uploads" / "x"
    files = {"a/one.jpg": FACE, "a/two.jpg": OTHER, "b/one.jpg": OTHER, "b/no.txt": b"no image"}
    for name, data in files.items():
        (photos / name).parent.mkdir(parents=True, exist_ok=True)
        (photos / name).write_bytes(data)
    crop(str(photos), str(place / "batches" / "first"), SETTINGS)
    (photos / "b/one.jpg").write_bytes(b"\xff\xd8\xff damaged")
    crop(str(photos), str(place / "batches" / "2026" / "second"), SETTINGS)
    (place / "batches" / "2026" / "second" / "manifest.parquet").unlink()  # not finished
    (place / "batches" / "others").mkdir()
    return place


def found(capsys: pytest.CaptureFixture[str], store: Path | str, *given: str) -> list[Any]:
    assert main(["find", "--store", str(store), "--json", *given]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_by_its_name_in_every_batch(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = found(capsys, store, "--path", "one.jpg")
    assert [Path(row["output"]).name for row in rows] == ["second", "second", "first", "first"]
    assert [(row["path"], row["status"]) for row in rows] == [
        ("a/one.jpg", "cropped"),
        ("b/one.jpg", "failed"),
        ("a/one.jpg", "cropped"),
        ("b/one.jpg", "cropped"),
    ]
    assert rows[1]["error"] == "truncated_image" or rows[1]["error"]
    for row in rows:
        crops = [face["crop"] for face in row["faces"]]
        assert len(crops) == (row["status"] == "cropped")
        assert all((Path(row["output"]) / crop).is_file() for crop in crops)
    assert [row["path"] for row in found(capsys, store, "--path", "a/one.jpg")] == ["a/one.jpg"] * 2
    assert found(capsys, store, "--path", "ne.jpg") == []


def test_by_the_hash_of_its_file(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = found(capsys, store, "--sha256", hashlib.sha256(OTHER).hexdigest().upper())
    assert [(Path(row["output"]).name, row["path"]) for row in rows] == [
        ("second", "a/two.jpg"),
        ("first", "a/two.jpg"),
        ("first", "b/one.jpg"),
    ]
    assert found(capsys, store, "--sha256", "0" * 64) == []


def test_a_batch_by_its_id(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = store / "batches" / "first"
    number = json.loads((output / "batch.json").read_text())["id"]
    for name in (number, "first"):
        (row,) = found(capsys, store, "--batch", name)
        assert (row["output"], row["batch"]) == (str(output), number)
        assert (row["counts"]["members"], row["counts"]["faces"]) == (4, 3)
    (row,) = found(capsys, store, "--batch", "second")
    assert row["counts"] is None


def test_a_person_reads_lines(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["find", "--store", str(store / "batches" / "first"), "--path", "b/one.jpg"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(str(store / "batches" / "first"))
    assert lines[1:] == ["  b/one.jpg: cropped, 1 face", "    crops/b/one.jpg_0.jpg"]
    assert main(["find", "--store", str(store), "--path", "nobody.jpg"]) == 0
    assert capsys.readouterr().out == f"not found in 2 outputs below {store}\n"


def test_what_cannot_be_read_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "batch.json").write_text("{")
    assert main(["find", "--store", str(tmp_path), "--path", "a.jpg"]) == 1
    assert "left out:" in (said := capsys.readouterr().err)
    assert said.count("\n") == 1
    assert main(["find", "--store", str(tmp_path / "none"), "--path", "a.jpg"]) == 1
    assert "not found" in capsys.readouterr().err
    assert main(["find", "--path", "a.jpg"]) == 2


def test_only_what_is_needed_is_read(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[list[str]] = []
    real = pq.ParquetFile.read_row_group

    def noted(self: Any, group: int, columns: list[str]) -> Any:
        read.append(columns)
        return real(self, group, columns=columns)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", noted)
    output = Output(str(store / "batches" / "first"))
    assert output.find(Wanted(path="nobody.jpg")) == []
    assert read == [["path"]]
    assert output.find(Wanted(sha256="0" * 64)) == []  # below the least that is there
    assert read == [["path"]]


def test_on_an_object_store(
    store: Path, tmp_path: Path, s3: S3, capsys: pytest.CaptureFixture[str]
) -> None:
    fs = fsspec.filesystem("s3", use_listings_cache=False)
    place = f"{s3.bucket}/{tmp_path.name}"
    fs.put(f"{store / 'batches'}/", f"{place}/", recursive=True)
    rows = found(capsys, f"s3://{place}", "--path", "a/one.jpg")
    assert [row["output"] for row in rows] == [
        f"s3://{place}/2026/second",
        f"s3://{place}/first",
    ]

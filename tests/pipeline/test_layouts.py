"""Crops that are packed, a chunk in one file: what goes with them, and that all is read back."""

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from PIL import Image

from pipeline.local import crop
from pipeline.report import sheet
from pipeline.settings import CropSettings
from storage.output import dataset
from storage.output.dataset import Table
from storage.output.manifest import FaceRow
from storage.output.output import Output
from storage.output.pictures import ABOUT_FIELDS, Picture
from storage.output.reading import OutputReader
from tests.flows.batches import Result, result
from tests.pictures import astronaut_jpeg
from tests.storage.test_manifest import cropped

pytestmark = pytest.mark.slow  # all of them together


def made(sample: Path, output: Path, layout: str) -> Result:
    settings = {"chunk": {"members": 8}, "output": {"layout": layout}}
    crop(str(sample), str(output), CropSettings.model_validate(settings))
    return result(str(output))


@pytest.fixture(scope="module")
def expected(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """The crops as files, in the order of their rows."""
    found = made(sample, tmp_path_factory.mktemp("files") / "out", "files")
    return [found.crops[row["crop"]] for row in found.faces]


@pytest.fixture(scope="module")
def parquet(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("parquet") / "out"
    made(sample, output, "parquet")
    return output


@pytest.mark.parametrize("layout", ["shards", "parquet"])
def test_what_is_packed_is_read_back(
    layout: str, sample: Path, expected: list[bytes], tmp_path: Path
) -> None:
    first = made(sample, tmp_path / "out", layout)
    reader = OutputReader(str(tmp_path / "out"))
    crops = dict(reader.crops())
    assert list(crops) == [row["crop"] for row in first.faces]
    assert list(crops.values()) == expected
    some = [row["crop"] for row in first.faces][1::3]
    assert dict(reader.read_crops(some)) == {name: crops[name] for name in some}
    assert len(sheet(Output(reader.uri), reader.sample(9, 9, 0)) or b"") > 1000
    assert '"packed":true' in (tmp_path / "out" / "report.html").read_text()

    again = made(sample, tmp_path / "again", layout)
    assert again.crops == first.crops


def test_datasets_load_the_crops_as_images(parquet: Path, expected: list[bytes]) -> None:
    import datasets  # here, as it takes two seconds

    rows = pq.read_table(parquet / "faces.parquet").to_pylist()
    files = sorted(map(str, (parquet / "crops").glob("*.parquet")))
    cache = str(parquet.parent / "cache")
    for loaded in (
        datasets.load_dataset("parquet", data_files=files, split="train", cache_dir=cache),
        datasets.load_dataset(str(parquet), split="train", cache_dir=cache),  # by the card
    ):
        assert isinstance(loaded.features["image"], datasets.Image)
        plain = loaded.cast_column("image", datasets.Image(decode=False))
        assert [one["bytes"] for one in plain["image"]] == expected
        for row, face in zip(loaded, rows, strict=True):
            assert isinstance(row["image"], Image.Image)
            assert row["image"].size == (300, 300)
            assert {name: row[name] for name in face} == face


def test_each_row_has_what_is_known_of_its_face_and_its_photograph(parquet: Path) -> None:
    members = pq.read_table(parquet / "manifest.parquet").to_pylist()
    for file in sorted((parquet / "crops").glob("*.parquet")):
        for row in pq.read_table(file).to_pylist():
            member = members[row["member"]]
            for name in ("path", "sha256", "width", "height"):
                assert row[name] == member[name]
            assert row["folder"] == member["path"].rpartition("/")[0].rpartition("/")[2]
            assert row["image"]["path"] == row["crop"].rpartition("/")[2]
            assert row.keys() >= set(FaceRow.__slots__)


def test_a_sidecar_has_every_column_of_its_face(sample: Path, tmp_path: Path) -> None:
    found = made(sample, tmp_path / "out", "shards")
    members = {row["member"]: row for row in found.manifest}
    rows = {row["crop"]: row for row in found.faces}
    seen = 0
    for path, data in found.crops.items():
        with tarfile.open(fileobj=io.BytesIO(data)) as shard:
            names = shard.getnames()
            for name, beside in zip(names[::2], names[1::2], strict=True):
                assert beside == name.replace(".jpg", ".json")
                content = shard.extractfile(beside)
                assert content is not None
                about = json.loads(content.read())
                row = rows[f"{path}/{name}"]
                assert about["box"] == [about[side] for side in "xywh"]
                for column, value in row.items():
                    assert about[column] == pytest.approx(value)
                assert about["sha256"] == members[row["member"]]["sha256"]
                seen += 1
    assert seen == len(found.faces)


@pytest.mark.parametrize(("layout", "files"), [("shards", "*.tar"), ("parquet", "*.parquet")])
def test_a_card_says_what_the_data_are(
    layout: str, files: str, sample: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    found = made(sample, output, layout)
    text = (output / "README.md").read_text()
    assert f'data_files: "crops/{files}"' in text
    assert f"| faces | {len(found.faces):,} |" in text
    assert "| `landmarks` | list of float |" in text
    # nothing is written twice, and what goes with the batch goes with its card
    settings = CropSettings.model_validate({"run": {"existing": "overwrite"}})
    crop(str(sample), str(output), settings)
    assert not (output / "README.md").exists()


@pytest.mark.parametrize("changed", [False, True], ids=["a stranger's", "ours, with a line more"])
def test_a_readme_of_somebody_stays(sample: Path, tmp_path: Path, changed: bool) -> None:
    output = tmp_path / "out"
    output.mkdir()
    readme = output / "README.md"
    readme.write_text("# Facecrop\nThis is about my faces.\n")
    if changed:
        readme.unlink()
        made(sample, output, "parquet")
        readme.write_text(readme.read_text() + "Licence: mine.\n")
        (output / "manifest.parquet").unlink()
    before = readme.read_text()
    made(sample, output, "parquet")
    assert readme.read_text() == before
    assert Output(str(output)).remove() == []
    assert readme.read_text() == before
    assert [one.name for one in output.iterdir()] == ["README.md"]


def test_row_groups_are_bounded_and_only_those_that_are_needed_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset, "ROW_GROUP_BYTES", 1000)
    table = Table()
    rows = [cropped(number) for number in range(9)]
    pictures = [
        Picture(
            row,
            row.face_rows[0],
            f"{table.stem('crops', 7, row.member, '')}_0.jpg",
            bytes([n]) * 400,
        )
        for n, row in enumerate(rows)
    ]
    [(name, data)] = table.files(pictures).items()
    assert name == "crops/00000007.parquet"
    file = pq.ParquetFile(io.BytesIO(data))
    assert [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)] == [2] * 4 + [
        1
    ]
    assert table.files(pictures) == {name: data}
    assert table.files([]) == {}


def test_a_folder_called_like_a_pack_is_no_pack(sample: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    for folder in ("00000001.tar", "00000002.parquet"):
        (photos / folder).mkdir(parents=True)
        (photos / folder / "a.jpg").write_bytes(astronaut_jpeg(300))
    output = tmp_path / "out"
    crop(str(photos), str(output))
    assert len(list(output.glob("crops/*/*.jpg"))) == 2
    assert Output(str(output)).remove() == []
    assert not output.exists()


def test_a_column_that_is_new_is_in_every_layout() -> None:
    row = cropped(1)
    about: dict[str, Any] = Picture(row, row.face_rows[0], "x", b"").about
    assert about.keys() == {field.name for field in ABOUT_FIELDS}

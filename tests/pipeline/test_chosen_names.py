"""Crops that are called as a person chose: unique before the start, resumed, removed."""

import gzip
import shutil
import tarfile
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from pipeline.batch import plan
from pipeline.local import crop
from pipeline.settings import CropSettings
from storage.errors import OutputError
from storage.output.output import Output
from tests.flows.batches import files, result
from tests.pictures import astronaut, astronaut_jpeg, encoded, group

pytestmark = pytest.mark.slow  # all of them together

PHOTOS = {
    "2024/3b/Ann.jpg": encoded(group((512, 400), (1000, 512)), "JPEG", quality=92),
    "2024/3b/Ben.JPG": astronaut_jpeg(),
    "2024/3b/Ben.xmp": b"<x:xmpmeta/>",
    "2024/4a/Ann.jpg": astronaut_jpeg(),
    "2024/4a/Ann": encoded(astronaut(), "PNG"),
    "2024/4a/__MACOSX/._Ann.jpg": b"\0",
}
NAMES = [
    "2024/3b/Ann_00.jpg",
    "2024/3b/Ann_01.jpg",
    "2024/3b/Ben_00.jpg",
    "2024/4a/Ann_00.jpg",
    "2024/4a/Ann_00~4.jpg",  # it is not called like an image, so the plan did not count on it
]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("archive") / "photos.zip"
    with zipfile.ZipFile(place, "w") as packed:
        for name, data in PHOTOS.items():
            packed.writestr(name, data)
    return place


def named(name: str, **others: dict[str, Any]) -> CropSettings:
    output = {"name": name, **others.pop("output", {})}
    return CropSettings.model_validate({"output": output, "chunk": {"members": 2}, **others})


def test_crops_are_called_by_the_template_also_of_a_batch_that_is_resumed(
    archive: Path, tmp_path: Path
) -> None:
    settings = named("{folder}/{stem}_{rank:02d}")
    crop(str(archive), f"{tmp_path}/own", CropSettings())
    crop(str(archive), f"{tmp_path}/out", settings)
    whole, own = result(f"{tmp_path}/out"), result(f"{tmp_path}/own")
    assert [row["crop"] for row in whole.faces] == [f"crops/{name}" for name in NAMES]
    assert list(whole.crops.values()) == list(own.crops.values())
    assert [row["warnings"] for row in whole.manifest] == [[], [], [], [], ["name_changed"], []]

    (tmp_path / "out/manifest.parquet").unlink()
    next((tmp_path / "out/parts").glob("00000001*")).unlink()
    crop(str(archive), f"{tmp_path}/out", settings)
    assert result(f"{tmp_path}/out") == whole
    with pytest.raises(OutputError, match=r"settings\.output\.name"):
        crop(str(archive), f"{tmp_path}/out", named("{member}_{rank}"))
    Output(f"{tmp_path}/out").remove()
    assert not (tmp_path / "out").exists()


def test_names_that_would_be_alike_are_told_before_anything_is_written(
    archive: Path, tmp_path: Path
) -> None:
    output = f"{tmp_path}/out"
    with pytest.raises(OutputError) as caught:
        plan(str(archive), output, named("{stem}_{rank}"))
    assert str(caught.value) == (
        f"2024/3b/Ann.jpg and 2024/4a/Ann.jpg of {archive} would both be called Ann_0: "
        "add {member} or {folder} to output.name, as in {folder}/{stem}_{rank}"
    )
    folder = tmp_path / "photos"
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(folder)
    shutil.copy(archive, folder / "2024" / "inner.zip")
    for source in (folder, folder / "2024" / "inner.zip"):
        with pytest.raises(OutputError, match="would both be called 3B_0"):
            plan(str(source), output, named("3B_{rank}"))
    with pytest.raises(OutputError, match=r"inner\.zip/2024/3b/Ann\.jpg .* called 3b/Ann_0"):
        plan(str(folder), output, named("{subject}/{stem}_{rank}"))

    with tarfile.open(tmp_path / "photos.tar", "w") as tar:
        for name, data in PHOTOS.items():
            header = tarfile.TarInfo(name)
            header.size = len(data)
            tar.addfile(header, BytesIO(data))
    (tmp_path / "photos.tar.gz").write_bytes(gzip.compress((tmp_path / "photos.tar").read_bytes()))
    with pytest.raises(OutputError, match=r"2024/3b/Ann.jpg and 2024/4a/Ann.jpg .* called Ann_0"):
        plan(f"{tmp_path}/photos.tar", output, named("{stem}_{rank}"))
    with pytest.raises(OutputError, match=r"can only be read in order.* add \{member\}"):
        plan(f"{tmp_path}/photos.tar.gz", output, named("{folder}/{stem}_{rank}"))
    with pytest.raises(OutputError, match=r"extended needs \{member\}"):
        plan(str(folder), output, named("{folder}/{stem}_{rank}", run={"existing": "extend"}))
    assert not Path(output).exists()
    crop(f"{tmp_path}/photos.tar.gz", output, named("{stem}_{member}_{rank}"))
    assert sorted(result(output).crops)[-1] == "crops/Ben_1_0.jpg"


def test_photographs_whose_faces_are_covered_and_faces_that_are_put_aside(
    archive: Path, tmp_path: Path
) -> None:
    crop(str(archive), f"{tmp_path}/a", named("{subject}-{stem}", output={"kind": "blurred"}))
    made = {name for name in files(f"{tmp_path}/a") if name.startswith("photos/")}
    assert made == {f"photos/{one}" for one in ("3b-Ann.jpg", "3b-Ben.jpg", "4a-Ann.jpg")} | {
        "photos/4a-Ann~4.png"
    }
    keep = {"min_face": 400, "else": "folder"}
    crop(str(archive), f"{tmp_path}/b", named("_rejected/{member}_{rank}", keep=keep))
    assert set(result(f"{tmp_path}/b").crops) == {
        f"crops/_rejected/__rejected/{one}.jpg" for one in ("0_0", "0_1", "1_0", "3_0", "4_0")
    }


@pytest.mark.parametrize(
    ("name", "others", "said"),
    [
        ("{stem}", {}, "needs {rank}"),
        ("{stem}{rank}", {}, "no digit"),
        ("{page}_{stem}_{rank}", {"crop": {"max_faces": 1}}, None),
        ("{stem}", {"crop": {"max_faces": 1}}, None),
        ("{stem}", {"crop": {"max_faces": 1}, "detection": {"pages": "all"}}, "needs {rank}"),
        ("{stem}{page}_{rank}", {}, "{page} beside {rank}"),
        ("{last}_{rank}", {}, "no field {last}"),
        ("{member}_{rank}", {"output": {"layout": "shards"}}, "needs output.layout files"),
        ("{member}_{rank}", {"output": {"kind": "blurred"}}, "has no {rank}"),
    ],
)
def test_a_template_that_does_not_fit_the_settings(
    name: str, others: dict[str, Any], said: str | None
) -> None:
    if said is None:
        named(name, **others)
        return
    with pytest.raises(ValidationError) as caught:
        named(name, **others)
    assert said in str(caught.value)

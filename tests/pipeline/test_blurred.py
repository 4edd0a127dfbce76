"""A batch of photographs with their faces covered: each has its file, and nothing shows a face."""

import base64
import json
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

import pipeline.chunk
from intake.cli.options import OptionError, read_options
from intake.cli.render import render
from pipeline.batch import Batch, plan
from pipeline.local import crop
from pipeline.report import sheet
from pipeline.settings import CropSettings
from storage.errors import TransientError
from storage.output.layout import list_name
from storage.output.output import Output
from tests.detection import camera
from tests.flows.batches import Result, files, result
from tests.pictures import astronaut, bgr, coffee, encoded
from tests.pipeline.test_report import Page

pytestmark = pytest.mark.slow  # all of them together

SETTINGS = {"output": {"kind": "blurred", "cover": "mask"}, "chunk": {"members": 4}}


def photographs() -> dict[str, bytes]:
    return {
        "2024/anna.jpg": encoded(astronaut(), "JPEG"),
        "2024/Anna.JPG": encoded(astronaut(400), "JPEG"),
        "anna": encoded(astronaut(), "JPEG"),
        "berlin~7.jpg": encoded(astronaut(), "PNG"),
        "clip.gif": encoded(astronaut(), "GIF"),
        "coffee.jpg": camera.photograph(coffee(), "JPEG"),
        "coffee.webp": encoded(coffee(), "WEBP"),
        "cut.jpg": encoded(astronaut(), "JPEG")[:5000],
        "dora.heic": camera.photograph(astronaut(), "HEIF"),
        "dora.heic~8.jpg": encoded(astronaut(), "JPEG"),
        "notes.txt": b"not a picture",
        "scan.tif": encoded(astronaut(), "TIFF"),
    }


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("archive") / "photos"
    for name, data in photographs().items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def settings(**others: Any) -> CropSettings:
    return CropSettings.model_validate({**SETTINGS, **others})


def photos(output: Path) -> dict[str, bytes]:
    return {name: data for name, data in files(str(output)).items() if name.startswith("photos/")}


@pytest.fixture(scope="module")
def output(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("out") / "out"
    crop(str(archive), str(output), settings())
    return output


@pytest.fixture(scope="module")
def found(output: Path) -> Result:
    return result(str(output))


def centre_of(picture: bytes, face: dict[str, Any]) -> int:
    """The brightest of the pixels in the middle of a face: 0 or so where it is masked."""
    with Image.open(BytesIO(picture)) as image:
        pixels = bgr(image.convert("RGB"))
    x, y = int(face["x"] + face["w"] / 2), int(face["y"] + face["h"] / 2)
    return int(pixels[y - 9 : y + 9, x - 9 : x + 9].max())


def test_each_photograph_that_is_read_has_one_file_with_its_faces_covered(
    output: Path, found: Result
) -> None:
    written = photos(output)
    named = [row["file"] for row in found.manifest if row["file"] is not None]
    assert sorted(named) == sorted(written)
    assert len({name.casefold() for name in named}) == len(named)
    without = {row["path"] for row in found.manifest if row["file"] is None}
    assert without == {"cut.jpg", "notes.txt"}
    files_of = {row["member"]: row["file"] for row in found.manifest}
    assert len(found.faces) == 8
    for face in found.faces:
        assert face["crop"] is None
        assert centre_of(written[files_of[face["member"]]], face) < 12
    assert found.crops == {}


def test_names_say_what_was_written(found: Result) -> None:
    by_path = {row["path"]: row for row in found.manifest}
    members = {path: row["member"] for path, row in by_path.items()}
    named = {path: row["file"] for path, row in by_path.items() if row["file"]}
    own, other = sorted(("2024/anna.jpg", "2024/Anna.JPG"), key=lambda path: members[path])
    assert named[own] == f"photos/{own}"
    assert named[other] == f"photos/{other}~{members[other]}.jpg"
    assert named["anna"] == f"photos/anna~{members['anna']}.jpg"
    assert named["berlin~7.jpg"] == f"photos/berlin~7.jpg~{members['berlin~7.jpg']}.png"
    assert named["clip.gif"] == f"photos/clip.gif~{members['clip.gif']}.png"
    assert named["coffee.webp"] == "photos/coffee.webp"
    assert named["dora.heic"] == f"photos/dora.heic~{members['dora.heic']}.jpg"
    assert named["scan.tif"] == "photos/scan.tif"
    told = {path for path, row in by_path.items() if "converted" in (row["warnings"] or ())}
    assert told == {"clip.gif", "dora.heic"}
    assert by_path["coffee.jpg"]["status"] == "no_face"


def test_nothing_that_is_shown_shows_a_face(output: Path, found: Result) -> None:
    page = Page(str(output)).data
    assert page["blurred"]
    shown = page["shown"]
    covered = [row["file"] for row in found.manifest if row["faces"]]
    assert sorted(one["crop"] for one in shown) == sorted(covered)
    faces = {row["member"]: row for row in found.faces}
    for one in shown:
        member = page["sample"]["members"][one["of"]]
        face = faces[member["member"]]
        with Image.open(BytesIO(base64.b64decode(one["picture"]))) as small:
            scale = small.width / member["width"]
        smaller = {side: face[side] * scale for side in "xywh"}
        assert centre_of(base64.b64decode(one["picture"]), smaller) < 40
    made = Output(str(output))
    with Image.open(BytesIO(sheet(made, made.sample(40, 40, 0)) or b"")) as image:
        picture = np.asarray(image.convert("L"))
    assert (picture < 8).mean() > 0.005


def test_while_it_runs_only_covered_faces_are_shown(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Batch] = []

    def planned(*options: Any) -> Batch:
        seen.append(plan(*options))
        return seen[0]

    monkeypatch.setattr("pipeline.local.plan", planned)
    crop(str(archive), str(tmp_path / "out"), settings())
    pictures = list(seen[0].first_crops)
    assert len(pictures) == 8  # none of those without a face: their bytes are the archive's
    for picture in pictures:
        with Image.open(BytesIO(picture)) as image:
            assert max(image.size) == 240
            assert (np.asarray(image.convert("L")) < 12).mean() > 0.02


def test_it_goes_on_where_it_stopped_and_is_the_same_each_time(
    archive: Path, found: Result, output: Path, tmp_path: Path
) -> None:
    again = tmp_path / "out"
    summary = crop(str(archive), str(again), settings())
    assert any("not covered" in line for line in summary.notes)
    assert f"  photos    {again}/photos" in render(summary)
    assert photos(again) == photos(output)
    (again / "manifest.parquet").unlink()
    for part in sorted((again / "parts").iterdir())[1:]:
        part.unlink()
    for path in list((again / "photos").glob("*.tif")):
        path.unlink()
    crop(str(archive), str(again), settings())
    assert photos(again) == photos(output)
    assert result(str(again)).manifest == found.manifest
    assert dict(Output(str(again)).crops()) == photos(output)


def test_what_was_written_is_removed_and_nothing_else(archive: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    crop(str(archive), str(output), settings())
    (output / "photos" / "mine.jpg").write_bytes(b"mine")
    assert Output(str(output)).remove() == ["photos/mine.jpg"]
    assert list(files(str(output))) == ["photos/mine.jpg"]


def test_photographs_are_written_down_before_they_are_written(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline.chunk, "_PHOTO_BYTES", 1)  # each by itself

    def killed(*_: object) -> None:
        raise TransientError("the power is gone")

    output = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(Output, "put_part", killed)
        patch.setattr("pipeline.retries.FIRST_DELAY_SECONDS", 0)
        with pytest.raises(TransientError):
            crop(str(archive), str(output), settings())
    written = photos(output)
    assert written
    claim = json.loads((output / "batch.json").read_text())["id"]
    listed = [
        name
        for chunk in range(3)
        if (output / list_name(chunk, claim)).exists()
        for name in json.loads((output / list_name(chunk, claim)).read_text())
    ]
    assert set(written) <= set(listed)
    assert Output(str(output)).remove() == []
    assert not output.exists()


@pytest.mark.parametrize(
    ("group", "field", "value", "said"),
    [
        ("output", "layout", "shards", "output.layout files"),
        ("output", "layout", "parquet", "output.layout files"),
        ("crop", "max_faces", "3", "crop.max_faces 0"),
        ("detection", "pages", "all", "detection.pages first"),
        ("keep", "else", "drop", "keep.else mark"),
    ],
)
def test_what_would_leave_a_face_or_has_no_photographs_is_refused_in_one_line(
    group: str, field: str, value: str, said: str
) -> None:
    with pytest.raises(OptionError) as raised:
        read_options({("output", "kind"): "blurred", (group, field): value}, {})
    assert str(raised.value) == f"output.kind blurred needs {said}: it covers all faces"
    with pytest.raises(ValidationError):
        CropSettings.model_validate(
            {group: {field: value}, "output": {"kind": "blurred", "layout": "shards"}}
        )

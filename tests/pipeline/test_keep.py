"""Faces that are not worth keeping: marked, dropped or put aside, and told of."""

import io
import json
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from intake.cli.render import render
from intake.http.bodies import Face
from pipeline.local import crop
from pipeline.settings import CropSettings
from pipeline.summary import Summary
from storage.output.output import Output
from tests.flows.batches import Result, result
from tests.pictures import astronaut, encoded, no_face_jpeg

pytestmark = pytest.mark.slow  # all of them together

BLURRED = {"min_sharpness": 0.25}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sharp face, a blurred one, both in one photograph, nobody; one named like the folder."""
    sharp = astronaut()
    blurred = Image.fromarray(cv2.GaussianBlur(np.asarray(sharp), (0, 0), 3))
    both = Image.new("RGB", (1024, 512))
    both.paste(sharp, (0, 0))
    both.paste(blurred, (512, 0))
    place = tmp_path_factory.mktemp("photos") / "photos.zip"
    with zipfile.ZipFile(place, "w") as archive:
        for name, picture in {
            "a/sharp.jpg": sharp,
            "a/blurred.jpg": blurred,
            "both.jpg": both,
            "_Rejected/a/blurred.jpg": sharp,
        }.items():
            archive.writestr(name, encoded(picture, "JPEG", quality=92))
        archive.writestr("nobody.jpg", no_face_jpeg())
    return place


def cropped(photos: Path, place: Path, keep: dict[str, Any], **others: Any) -> Summary:
    settings = {"keep": keep, "chunk": {"members": 3}, **others}
    return crop(str(photos), str(place), CropSettings.model_validate(settings))


def sharp(face: dict[str, Any]) -> bool:
    return bool(face["sharpness"] > 0.25)


def aside(name: str) -> bool:
    return name.startswith("crops/_rejected/")


@pytest.fixture(scope="module")
def all_kept(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Result:
    output = tmp_path_factory.mktemp("all") / "out"
    summary = cropped(photos, output, {})
    assert (summary.faces, summary.not_kept, summary.none_kept, summary.rejects) == (5, 0, 0, {})
    assert "not kept" not in render(summary)
    return result(str(output))


def test_without_thresholds_all_are_kept(all_kept: Result) -> None:
    assert [(face["kept"], face["kept_why"]) for face in all_kept.faces] == [(True, [])] * 5
    assert [row["not_kept"] for row in all_kept.manifest] == [0] * 5
    assert set(all_kept.crops) == {face["crop"] for face in all_kept.faces}
    assert "crops/_Rejected/a/blurred.jpg_0.jpg" in all_kept.crops
    for face in all_kept.faces:
        assert 0 < face["sharpness"] < 1
        assert face["sharpness_scale"] == 1
        assert abs(face["yaw"]) < 15
        assert abs(face["pitch"]) < 25
        assert 60 < face["brightness"] < 200
        assert 20 < face["contrast"] < 100
        assert 0 < face["pick_score"] < 1


@pytest.mark.parametrize("otherwise", ["mark", "drop", "folder"])
def test_what_is_not_kept_has_a_row_and_is_counted(
    photos: Path, all_kept: Result, tmp_path: Path, otherwise: str
) -> None:
    summary = cropped(photos, tmp_path / "out", {**BLURRED, "else": otherwise})
    found = result(str(tmp_path / "out"))
    assert [face["rank"] for face in found.faces] == [face["rank"] for face in all_kept.faces]
    assert [face["kept"] for face in found.faces] == list(map(sharp, all_kept.faces))
    assert sum(face["kept"] for face in found.faces) == 3
    for face in found.faces:
        assert face["kept_why"] == ([] if face["kept"] else ["low_sharpness"])
    assert [row["status"] for row in found.manifest] == [row["status"] for row in all_kept.manifest]
    assert [row["faces"] for row in found.manifest] == [1, 1, 2, 1, 0]
    assert [row["not_kept"] for row in found.manifest] == [0, 1, 1, 0, 0]
    assert (summary.not_kept, summary.none_kept) == (2, 1)
    assert summary.rejects == {"low_sharpness": 2}
    assert "not kept  2 faces (low_sharpness 2); images with none left: 1" in render(summary)
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["not_kept"] == 2
    assert Output(str(tmp_path / "out")).totals() == summary.counts
    (tmp_path / "out" / "summary.json").unlink()
    assert Output(str(tmp_path / "out")).totals() == summary.counts


def test_marked_faces_are_cropped_as_all_are(
    photos: Path, all_kept: Result, tmp_path: Path
) -> None:
    cropped(photos, tmp_path / "out", BLURRED)
    found = result(str(tmp_path / "out"))
    assert found.crops == all_kept.crops


def test_dropped_faces_have_no_crop(photos: Path, all_kept: Result, tmp_path: Path) -> None:
    cropped(photos, tmp_path / "out", {**BLURRED, "else": "drop"})
    found = result(str(tmp_path / "out"))
    kept = [face["crop"] for face in all_kept.faces if sharp(face)]
    assert [face["crop"] for face in found.faces if face["kept"]] == kept
    assert [face["crop"] for face in found.faces if not face["kept"]] == [None, None]
    assert found.crops == {name: all_kept.crops[name] for name in kept}
    output = Output(str(tmp_path / "out"))
    assert dict(output.crops()) == found.crops
    told = [Face.model_validate(row) for row in output.face_rows()]
    assert sum(face.crop is None for face in told) == 2
    assert output.remove() == []
    assert not (tmp_path / "out").exists()


def test_others_have_a_folder_that_is_no_member_s(
    photos: Path, all_kept: Result, tmp_path: Path
) -> None:
    cropped(photos, tmp_path / "out", {**BLURRED, "else": "folder"})
    found = result(str(tmp_path / "out"))
    for face, same in zip(found.faces, all_kept.faces, strict=True):
        assert aside(face["crop"]) is not face["kept"]
        assert found.crops[face["crop"]] == all_kept.crops[same["crop"]]
    assert {name for name in found.crops if aside(name)} == {
        "crops/_rejected/a/blurred.jpg_0.jpg",
        "crops/_rejected/both.jpg_1.jpg",
    }
    assert "crops/__Rejected/a/blurred.jpg~3_0.jpg" in found.crops
    assert [row["warnings"] for row in found.manifest] == [[], [], [], ["name_changed"], []]
    output = Output(str(tmp_path / "out"))
    assert dict(output.crops()) == found.crops
    assert output.remove() == []
    assert not (tmp_path / "out").exists()


def told_in_pack(pack: bytes, name: str) -> dict[str, Any]:
    """What a TAR or a Parquet file says of a crop in it."""
    if pack.startswith(b"PAR1"):
        rows = pq.read_table(io.BytesIO(pack)).to_pylist()
        return next(row for row in rows if row["image"]["path"] == name)
    with tarfile.open(fileobj=io.BytesIO(pack)) as samples:
        sidecar = samples.extractfile(name.replace(".jpg", ".json"))
        assert sidecar is not None
        told: dict[str, Any] = json.load(sidecar)
        return told


@pytest.mark.parametrize("layout", ["shards", "parquet"])
@pytest.mark.parametrize("otherwise", ["mark", "drop", "folder"])
def test_packed_crops_are_sorted_likewise(
    photos: Path, all_kept: Result, tmp_path: Path, otherwise: str, layout: str
) -> None:
    keep = {**BLURRED, "else": otherwise}
    cropped(photos, tmp_path / "out", keep, output={"layout": layout})
    output = Output(str(tmp_path / "out"))
    packs = result(str(tmp_path / "out")).crops
    packed = dict(output.crops())
    rows = pq.read_table(tmp_path / "out" / "faces.parquet").to_pylist()
    for face, same in zip(rows, all_kept.faces, strict=True):
        if face["crop"] is None:
            assert (otherwise, face["kept"]) == ("drop", False)
            continue
        assert packed[face["crop"]] == all_kept.crops[same["crop"]]
        pack, _, name = face["crop"].rpartition("/")
        about = told_in_pack(packs[pack], name)
        assert (about["kept"], about["kept_why"]) == (face["kept"], face["kept_why"])
        assert aside(pack) is (otherwise == "folder" and not face["kept"])
    assert any(map(aside, packs)) is (otherwise == "folder")
    assert output.remove() == []
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("keep", "why"),
    [
        ({"min_face": 400}, "small_face"),
        ({"min_score": 0.999}, "low_score"),
        ({"max_yaw": 0.01}, "high_yaw"),
        ({"min_sharpness": 0.9}, "low_sharpness"),
    ],
)
def test_each_threshold_has_its_reason(
    photos: Path, tmp_path: Path, keep: dict[str, Any], why: str
) -> None:
    summary = cropped(photos, tmp_path / "out", {**keep, "else": "drop"})
    assert summary.rejects == {why: summary.faces} == {why: 5}
    assert (summary.cropped, summary.none_kept) == (4, 4)
    assert result(str(tmp_path / "out")).crops == {}


def test_what_is_not_known_is_held_against_nobody(photos: Path, tmp_path: Path) -> None:
    keep = {"min_score": 1.0, "max_yaw": 0.01}
    summary = cropped(photos, tmp_path / "out", keep, detection={"method": "haar"})
    rows = result(str(tmp_path / "out")).faces
    assert summary.faces == len(rows) > 2
    assert summary.not_kept == 0
    assert {(row["yaw"], row["pitch"], row["score"]) for row in rows} == {(None, None, None)}


def test_thresholds_are_part_of_what_a_batch_is(photos: Path, tmp_path: Path) -> None:
    cropped(photos, tmp_path / "out", {})
    record = json.loads((tmp_path / "out" / "batch.json").read_text())
    del record["settings"]["keep"], record["settings"]["crop"]["pick"]  # an older Facecrop's
    (tmp_path / "out" / "batch.json").write_text(json.dumps(record))
    cropped(photos, tmp_path / "out", {})
    with pytest.raises(Exception, match=r"keep\.else: 'mark' there, 'drop' now"):
        cropped(photos, tmp_path / "out", {"else": "drop"})

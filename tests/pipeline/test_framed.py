"""Crops of any shape, and what the tables tell of them."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pipeline.local import crop
from pipeline.settings import CropSettings
from storage.output.manifest import FACES_SCHEMA
from tests.pictures import astronaut, encoded

pytestmark = pytest.mark.slow  # all of them together

GEOMETRY = ["crop_w", "crop_h", "crop_scale", "eye_distance", "matrix", "head_height", "eye_line"]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with one face, once as it is and once in a file that is turned by its tag."""
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(encoded(astronaut(), "JPEG", quality=95))
    (folder / "b.jpg").write_bytes(encoded(astronaut(700), "JPEG", 6, quality=95))
    return folder


def faces_of(photos: Path, output: Path, **chosen: Any) -> list[dict[str, Any]]:
    crop(str(photos), str(output), CropSettings.model_validate({"crop": chosen}))
    rows: list[dict[str, Any]] = pq.read_table(output / "faces.parquet").to_pylist()
    return rows


@pytest.mark.parametrize(
    "chosen",
    [
        {},
        {"preset": "id-35x45"},
        {"size": 0},
        {"size": 0, "align": "level", "border": "shrink"},
        {"align": "arcface", "width": 224, "height": 112, "format": "png"},
    ],
    ids=str,
)
def test_the_row_of_a_face_tells_its_crop(
    photos: Path, tmp_path: Path, chosen: dict[str, Any]
) -> None:
    for row in faces_of(photos, tmp_path / "out", **chosen):
        with Image.open(tmp_path / "out" / row["crop"]) as picture:
            assert picture.size == (row["crop_w"], row["crop_h"])
        matrix = np.array(row["matrix"]).reshape(2, 3)
        assert math.hypot(matrix[0, 0], matrix[1, 0]) == pytest.approx(row["crop_scale"], rel=1e-5)
        eyes = np.array(row["landmarks"]).reshape(5, 2)[:2]
        assert row["eye_distance"] == pytest.approx(math.dist(*eyes), rel=1e-5)
        there = matrix @ [*eyes.mean(axis=0), 1]
        assert there[1] / row["crop_h"] == pytest.approx(row["eye_line"], abs=1e-4)
        assert 0 < row["head_height"] < 2


def test_columns_come_last_and_are_null_without_landmarks(photos: Path, tmp_path: Path) -> None:
    assert FACES_SCHEMA.names[-len(GEOMETRY) :] == GEOMETRY
    settings = {"detection": {"method": "haar"}, "crop": {"align": "level"}}
    out = tmp_path / "out"
    summary = crop(str(photos), str(out), CropSettings.model_validate(settings))
    assert summary.warnings == {"unaligned": 2}
    for row in pq.read_table(out / "faces.parquet").to_pylist():
        assert row["eye_distance"] is row["head_height"] is row["eye_line"] is None
        assert row["crop_w"] == 300


def test_a_batch_from_before_there_was_a_choice_is_resumed(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    expected = faces_of(photos, out)
    record = json.loads((out / "batch.json").read_text())
    newer = {"preset", "width", "height", "enlarge", "align", "frame", "head_height", "eye_line"}
    for name in newer | {"border", "border_color"}:
        del record["settings"]["crop"][name]
    (out / "batch.json").write_text(json.dumps(record))
    (out / "manifest.parquet").unlink()
    assert faces_of(photos, out) == expected

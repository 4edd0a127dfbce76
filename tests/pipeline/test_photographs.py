"""Photographs with the boxes of their faces, in the report of a finished batch."""

import base64
import io
import json
import os
import re
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageOps

from intake.cli.samples import write_sample
from pipeline.local import crop
from pipeline.photographs.report import rewrite_report
from pipeline.settings import CropSettings
from storage.errors import ArchiveError, OutputError

COUNT = 24


def shown(output: Path) -> Any:
    """What the report of an output shows of its photographs; None for nothing."""
    [data] = re.findall(
        r'id="data">(.*?)</script>', (output / "report.html").read_text(), re.DOTALL
    )
    return json.loads(data).get("photographs")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photographs in every orientation and several formats."""
    place = tmp_path_factory.mktemp("photographs")
    write_sample(place / "sample.zip", COUNT)
    with zipfile.ZipFile(place / "sample.zip") as archive:
        archive.extractall(place / "folder")
    crop(str(place / "folder"), str(place / "out"))
    return place


def test_each_has_the_boxes_of_all_its_faces_where_they_are(folder: Path) -> None:
    output = folder / "out"
    assert shown(output) is None  # they are there on request alone
    assert rewrite_report(str(output), photographs=True) == f"{output}/report.html"
    told = shown(output)
    assert told["unread"] == 0
    rows = {row["path"]: row for row in pq.read_table(output / "manifest.parquet").to_pylist()}
    faces = pq.read_table(output / "faces.parquet").to_pylist()
    images = {path for path, row in rows.items() if row["status"] in ("cropped", "no_face")}
    assert {one["path"] for one in told["shown"]} == images
    for one in told["shown"]:
        row = rows[one["path"]]
        mine = [face for face in faces if face["member"] == row["member"] and not face["page"]]
        assert len(one["faces"]) == len(mine)
        left, top, width, height = one["inside"]
        scale = width / row["width"]
        picture = Image.open(io.BytesIO(base64.b64decode(one["picture"])))
        within = left, top, left + width, top + height
        alike(picture.crop(within), folder / "folder" / one["path"])
        for drawn, face in zip(one["faces"], mine, strict=True):
            where = [left + face["x"] * scale, top + face["y"] * scale]
            where += [face["w"] * scale, face["h"] * scale]
            assert drawn["box"] == pytest.approx(where, abs=0.2)


def alike(picture: Image.Image, original: Path) -> None:
    """The picture has the original's brightness everywhere, upright, but for the small print."""
    upright = ImageOps.exif_transpose(Image.open(original)).convert("RGBA")
    upright = Image.alpha_composite(Image.new("RGBA", upright.size, "white"), upright)
    size = 24, 24
    a, b = (np.asarray(one.convert("L").resize(size), float) for one in (picture, upright))
    assert np.abs(a - b).mean() < 8, original


def test_what_cannot_be_read_again_is_counted(folder: Path, tmp_path: Path) -> None:
    source, output = tmp_path / "folder", tmp_path / "out"
    shutil.copytree(folder / "folder", source)
    crop(str(source), str(output))
    row = next(
        row
        for row in pq.read_table(output / "manifest.parquet").to_pylist()
        if row["status"] == "cropped"
    )
    changed = source / row["path"]
    times, data = changed.stat(), bytearray(changed.read_bytes())
    data[-1] ^= 1
    changed.write_bytes(data)
    os.utime(changed, ns=(times.st_atime_ns, times.st_mtime_ns))
    rewrite_report(str(output), photographs=True)
    told = shown(output)
    assert told["unread"] == 1
    assert row["path"] not in {one["path"] for one in told["shown"]}

    (source / "another.jpg").write_bytes(bytes(data))
    with pytest.raises(ArchiveError, match="changed"):
        rewrite_report(str(output), photographs=True)
    rewrite_report(str(output), photographs=False)
    assert shown(output) is None


def test_what_was_covered_is_not_shown(folder: Path, tmp_path: Path) -> None:
    settings = CropSettings.model_validate({"output": {"kind": "blurred"}})
    crop(str(folder / "folder"), str(tmp_path / "out"), settings)
    before = (tmp_path / "out" / "report.html").read_bytes()
    with pytest.raises(OutputError, match="covered"):
        rewrite_report(str(tmp_path / "out"), photographs=True)
    assert (tmp_path / "out" / "report.html").read_bytes() == before


def test_an_unfinished_batch_has_no_report(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "out", tmp_path / "out")
    (tmp_path / "out" / "manifest.parquet").unlink()
    with pytest.raises(OutputError, match="finished"):
        rewrite_report(str(tmp_path / "out"), photographs=False)

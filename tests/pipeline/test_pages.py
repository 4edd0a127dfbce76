"""A TIFF of several pages: the first of them, or all, is searched for faces."""

import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from PIL import Image

from pipeline.local import crop
from pipeline.settings import CropSettings
from tests.pictures import astronaut

BLANK = Image.new("RGB", (64, 48), "grey")


def tiff(*pages: Image.Image) -> bytes:
    target = BytesIO()
    pages[0].save(target, "TIFF", save_all=True, append_images=pages[1:])
    return target.getvalue()


def cropped(folder: Path, data: bytes, which: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The row of the only member, and the rows of its faces; their crops are there."""
    with zipfile.ZipFile(folder / "a.zip", "w") as archive:
        archive.writestr("scan.tif", data)
    output = folder / which
    settings = CropSettings.model_validate({"detection": {"pages": which}})
    crop(str(folder / "a.zip"), str(output), settings)
    [member] = pq.read_table(output / "manifest.parquet").to_pylist()
    faces: list[dict[str, Any]] = pq.read_table(output / "faces.parquet").to_pylist()
    assert len({face["crop"] for face in faces}) == len(faces) == member["faces"]
    for face in faces:
        with Image.open(output / face["crop"]) as picture:
            assert picture.size == (300, 300)
    return member, faces


def test_all_pages_are_searched_or_the_first(tmp_path: Path) -> None:
    face = astronaut()
    data = tiff(face, BLANK, face.resize((800, 800)))
    member, faces = cropped(tmp_path, data, "first")
    assert (member["pages"], member["warnings"]) == (3, ["first_page_of_n"])
    assert [one["page"] for one in faces] == [0]

    member, both = cropped(tmp_path, data, "all")
    assert (member["pages"], member["warnings"]) == (3, [])
    assert (member["width"], member["height"]) == face.size
    assert [(one["page"], one["rank"]) for one in both] == [(0, 0), (2, 1)]
    assert {**both[0], "page": 0} == faces[0]
    assert 1.4 < both[1]["w"] / both[0]["w"] < 1.8


def test_faces_of_a_later_page_alone_count(tmp_path: Path) -> None:
    member, faces = cropped(tmp_path, tiff(BLANK, astronaut()), "all")
    assert (member["status"], member["width"]) == ("cropped", 64)
    assert [(one["page"], one["rank"], one["outside"]) for one in faces] == [(1, 0, 0)]


def test_a_page_that_cannot_be_read_costs_no_other(tmp_path: Path) -> None:
    face = astronaut()
    data = bytearray(tiff(face, face, face))
    second = int.from_bytes(data[4:8], "little")
    count = int.from_bytes(data[second : second + 2], "little")
    at = second + 2 + 12 * count
    at = int.from_bytes(data[at : at + 4], "little")  # the second page's directory
    for entry in range(at + 2, at + 2 + 12 * 20, 12):
        if data[entry : entry + 2] == b"\x03\x01":  # Compression: one that nobody knows
            data[entry + 8 : entry + 10] = b"\xff\xfe"
            break
    member, faces = cropped(tmp_path, bytes(data), "all")
    assert [one["page"] for one in faces] == [0, 2]
    assert member["warnings"] == ["page_unreadable"]

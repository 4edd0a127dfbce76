import base64
import hashlib
import json
import zipfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from html.parser import HTMLParser
from importlib.metadata import version
from io import BytesIO
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pipeline.local import crop
from pipeline.report import sheet, write_report
from pipeline.settings import CropSettings
from pipeline.summary import Summary
from storage.errors import OutputError
from storage.output.counts import Counts, Status
from storage.output.manifest import FACES_SCHEMA, MANIFEST_SCHEMA, FaceRow, MemberRow, encode_part
from storage.output.output import Output
from storage.output.webdataset import pack
from tests.pictures import astronaut, astronaut_jpeg, encoded, no_face_jpeg

HOSTILE = [
    "<img src=x onerror=alert(1)>.jpg",
    "</script><script>alert(1)</script>.jpg",
    "<!--<script>.jpg",
    "line\u2028and\u2029ends.jpg",
    "&lt;b&gt;\"quoted'.jpg",
    "{policy}{data}.jpg",
    "\u202egpj.exe",
    "back\\slash\n\t\x01.jpg",
]
MILLION = 1_000_000
PAGE_BYTES = 5_000_000  # of a page that says that it is sampled
MIB = 1 << 20


def record(layout: str = "files") -> dict[str, Any]:
    settings = {"output": {"layout": layout}}
    return {
        "format": 1,
        "archive": {},
        "settings": settings,
        "created": "2026-01-31T10:00:00+00:00",
    }


def cropped(member: int, path: str, crops: Sequence[str], score: float | None = 0.875) -> MemberRow:
    faces = [
        FaceRow(rank, 0, 10.4, 20.6, 30.0, 40.0, score, None, 0, 0, 60, 0.0, 1.0, crop)
        for rank, crop in enumerate(crops)
    ]
    return MemberRow(member, path, Status.CROPPED, 9, width=640, height=480, face_rows=faces)


def failed(member: int, path: str, message: str = "It is bad.") -> MemberRow:
    return MemberRow(member, path, Status.FAILED, 9, error="corrupt_image", message=message)


def summary(output: Output, totals: Counts) -> Summary:
    return Summary.of("s3://in/<b>photos</b>.zip", output.uri, totals, 0, 12.5)


def finished(
    place: str, rows: list[MemberRow], crops: Mapping[str, bytes], layout: str = "files"
) -> tuple[Output, Summary]:
    """A batch of one chunk, written as a run writes it."""
    output = Output(place)
    output.claim(record(layout), "overwrite")
    output.put_crops(0, crops)
    output.put_part(0, encode_part(rows))
    return output, summary(output, output.finish(len(rows), 1))


class Page(HTMLParser):
    """A report as a browser takes it apart.

    Attributes:
        tags: of every element, in order.
        contents: of the page's style, its data and its script.
        policy: its Content-Security-Policy.
        data: what its script works on.
        bytes: how large it is.
    """

    def __init__(self, place: str) -> None:
        super().__init__()
        with fsspec.open(f"{place}/report.html", "rb") as file:
            page = file.read()
        self.bytes = len(page)
        self.tags: list[str] = []
        self.contents: list[str] = []
        self.policy = ""
        self.feed(page.decode())
        self.data: dict[str, Any] = json.loads(self.contents[1])

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        values = dict(attrs)
        if values.get("http-equiv") == "Content-Security-Policy":
            self.policy = values["content"] or ""
        assert not any(name.startswith("on") or name == "style" for name in values)

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1] in ("style", "script") and data.strip():
            self.contents.append(data)


def test_a_page_says_how_alike_the_heads_are(tmp_path: Path) -> None:
    source = tmp_path / "photos"
    source.mkdir()
    for number, side in enumerate((512, 400, 300)):
        (source / f"{number}.png").write_bytes(encoded(astronaut(side), "PNG"))
    for name, chosen in (("us", {"preset": "us-2x2"}), ("box", {})):
        crop(str(source), str(tmp_path / name), CropSettings.model_validate({"crop": chosen}))
    heads, eyes = Page(str(tmp_path / "us")).data["heads"]
    assert "are 59.0 % of the crop's height in the middle, 59.0 to 59.0 % in 9 of 10" in heads
    assert "at 40.0 % of the crop's height" in eyes
    assert Page(str(tmp_path / "box")).data["heads"] == []


def test_a_page_says_what_the_batch_came_to(tmp_path: Path) -> None:
    crop = encoded(astronaut(300), "JPEG")
    rows = [
        cropped(0, "a/one.jpg", ["crops/a/one.jpg_0.jpg", "crops/a/one.jpg_1.jpg"]),
        failed(1, "two.jpg"),
        MemberRow(2, "three.jpg", Status.NO_FACE, 9, width=64, height=48),
        MemberRow(3, "notes.txt", Status.SKIPPED, 9, error="not_an_image"),
    ]
    output, summed = finished(
        str(tmp_path), rows, {"crops/a/one.jpg_0.jpg": crop, "crops/a/one.jpg_1.jpg": crop}
    )
    write_report(output, summed)
    data = Page(str(tmp_path)).data
    counts = ("members", "faces", "cropped", "no_face", "failed", "skipped", "seconds", "rate")
    assert [data[name] for name in counts] == [4, 2, 1, 1, 1, 1, 12.5, 0.32]
    assert data["errors"] == {"corrupt_image": 1}
    assert data["version"] == version("facecrop")
    assert [row["path"] for row in data["sample"]["members"]] == [row.path for row in rows]
    first, second = data["shown"]
    assert (first["of"], first["score"], first["box"]) == (0, 0.875, [10, 21, 30, 40])
    assert second["crop"] == "crops/a/one.jpg_1.jpg"
    with Image.open(BytesIO(base64.b64decode(first["picture"]))) as picture:
        assert picture.format == "JPEG"
        assert picture.size == (150, 150)
    assert data["failures"] == [
        {"member": 1, "path": "two.jpg", "error": "corrupt_image", "message": "It is bad."}
    ]
    assert data["facesPerImage"][:3] == [1, 0, 1]
    assert sum(data["faceValues"]["size"]["faces"]) == 2
    assert {value["cut"] for value in data["faceValues"].values()} == {None}
    assert sum(data["throughput"]["members"]) == 4


def test_a_page_says_what_was_not_kept_and_where_the_cut_is(tmp_path: Path) -> None:
    crops = {"crops/0.jpg_0.jpg": encoded(astronaut(60), "PNG")}
    row = cropped(0, "0.jpg", ["crops/0.jpg_0.jpg", ""])
    sharp, blurred = (
        replace(face, sharpness_scale=0.5, yaw=-12.4, pitch=3.0) for face in row.face_rows
    )
    sharp = replace(sharp, sharpness=0.456, kept=True, kept_why=[])
    blurred = replace(
        blurred, sharpness=0.1, crop=None, kept=False, kept_why=["low_sharpness", "small_face"]
    )
    output = Output(str(tmp_path))
    keep = {"min_sharpness": 0.3, "max_yaw": 0, "min_face": 31, "min_score": 0.5, "else": "drop"}
    told = record()
    output.claim({**told, "settings": {**told["settings"], "keep": keep}}, "overwrite")
    output.put_crops(0, crops)
    output.put_part(0, encode_part([replace(row, face_rows=[sharp, blurred])]))
    write_report(output, summary(output, output.finish(1, 1)))
    data = Page(str(tmp_path)).data
    cuts = {name: value["cut"] for name, value in data["faceValues"].items()}
    assert cuts == {"size": 31, "sharpness": 0.3, "yaw": 0, "score": 0.5}
    counts = data["faceValues"]["sharpness"]["faces"]
    assert [place for place, count in enumerate(counts) if count] == [2, 11]
    assert (data["not_kept"], data["none_kept"]) == (1, 0)
    assert data["rejects"] == {"low_sharpness": 1, "small_face": 1}
    (face,) = data["shown"]
    assert (face["sharpness"], face["yaw"], face["why"]) == (0.46, -12, [])
    assert data["sample"]["memberFaces"] == 1  # the other has no picture, and that is no sample


def test_names_stay_text(tmp_path: Path) -> None:
    rows = [failed(member, name, name) for member, name in enumerate(HOSTILE)]
    output, summed = finished(str(tmp_path / "harmless"), [failed(0, "a.jpg")], {})
    write_report(output, summed)
    output, summed = finished(str(tmp_path / "hostile"), rows, {})
    write_report(output, summed)
    page = Page(str(tmp_path / "hostile"))
    assert page.tags == Page(str(tmp_path / "harmless")).tags
    assert [row["path"] for row in page.data["sample"]["members"]] == HOSTILE
    assert [row["message"] for row in page.data["failures"]] == HOSTILE
    assert page.data["archive"] == "s3://in/<b>photos</b>.zip"
    assert not set("<>&\u2028\u2029") & set(page.contents[1])


def test_nothing_but_the_page_s_own_script_and_style_may_run(tmp_path: Path) -> None:
    output, summed = finished(str(tmp_path), [failed(0, "a.jpg")], {})
    write_report(output, summed)
    page = Page(str(tmp_path))
    style, _, script = page.contents
    rules = dict(rule.strip().split(" ", 1) for rule in page.policy.split(";"))
    assert rules == {
        "default-src": "'none'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
        "style-src": hash_of(style),
        "script-src": hash_of(script),
    }
    for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
        assert way not in script


def hash_of(content: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


@pytest.mark.parametrize("rows", [[], [failed(0, "a.jpg")]], ids=["no member", "no face"])
def test_a_batch_without_a_face_has_a_page(rows: list[MemberRow], tmp_path: Path) -> None:
    output, summed = finished(str(tmp_path), rows, {})
    write_report(output, summed)
    data = Page(str(tmp_path)).data
    assert data["members"] == len(data["sample"]["members"]) == len(rows)
    assert data["shown"] == []


def test_a_detector_without_scores_and_a_damaged_crop_leave_a_page(tmp_path: Path) -> None:
    crops = {"crops/0.jpg_0.jpg": b"no image", "crops/0.jpg_1.jpg": encoded(astronaut(60), "PNG")}
    output, summed = finished(str(tmp_path), [cropped(0, "0.jpg", list(crops), None)], crops)
    write_report(output, summed)
    (face,) = Page(str(tmp_path)).data["shown"]
    assert (face["crop"], face["score"]) == ("crops/0.jpg_1.jpg", None)


def test_a_crop_that_is_gone_is_one_clear_line(tmp_path: Path) -> None:
    output, summed = finished(str(tmp_path), [cropped(0, "0.jpg", ["crops/gone.jpg"])], {})
    lost = r"has lost crops/gone\.jpg; .* --run-existing overwrite"
    with pytest.raises(OutputError, match=lost):
        write_report(output, summed)


@pytest.mark.parametrize("kind", ["local", "memory"])
def test_packed_crops_are_found(kind: str, tmp_path: Path) -> None:
    place = str(tmp_path) if kind == "local" else f"memory://{tmp_path.name}"
    shard = "crops/00000000.tar"
    inside = {f"{member:08d}_0.jpg": encoded(astronaut(300), "JPEG") for member in range(3)}
    rows = [cropped(n, f"{n}.jpg", [f"{shard}/{name}"]) for n, name in enumerate(inside)]
    output, summed = finished(place, rows, {shard: pack(inside)}, "shards")
    write_report(output, summed)
    data = Page(place).data
    assert [face["of"] for face in data["shown"]] == [0, 1, 2]
    assert data["packed"]
    with Image.open(BytesIO(sheet(output, output.sample(9, 9, 0)) or b"")) as picture:
        assert picture.format == "JPEG"


def test_overwriting_removes_the_report_of_the_batch_before(tmp_path: Path) -> None:
    output, summed = finished(str(tmp_path), [failed(0, "a.jpg")], {})
    write_report(output, summed)
    assert (tmp_path / "report.html").exists()
    output.claim(record("shards"), "overwrite")
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize("layout", ["files", "shards"])
def test_a_batch_that_was_really_run_has_a_page(layout: str, tmp_path: Path) -> None:
    archive = tmp_path / "photos.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for name in HOSTILE[:4]:
            file.writestr(name, astronaut_jpeg())
        file.writestr("coffee.jpg", no_face_jpeg())
        file.writestr("cut.jpg", astronaut_jpeg()[:5000])
    place = str(tmp_path / "out")
    settings = CropSettings.model_validate({"output": {"layout": layout}})
    write_report(Output(place), crop(str(archive), place, settings))
    data = Page(place).data
    assert [row["path"] for row in data["sample"]["members"]][:4] == HOSTILE[:4]
    assert [face["of"] for face in data["shown"]] == [0, 1, 2, 3]
    assert data["failures"][0]["error"] == "truncated_image"


@pytest.mark.slow
def test_a_million_images_give_a_sampled_page_below_5_mb_in_little_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_million(tmp_path)
    # what is freed goes back at once, or the peak is a matter of time: Arrow's allocator keeps it
    monkeypatch.setenv("MIMALLOC_PURGE_DELAY", "0")
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        used = process.submit(report_on, str(tmp_path)).result()
    page = Page(str(tmp_path))
    data = page.data
    assert data["members"] == MILLION
    indices = [row["member"] for row in data["sample"]["members"]]
    assert indices == list(range(0, MILLION, 1000))
    assert 50 < len(data["shown"]) < data["sample"]["memberFaces"] == 334
    assert len(data["failures"]) == 100
    assert data["facesPerImage"][1] == data["faces"] == 333_334
    assert sum(data["throughput"]["members"]) == pytest.approx(MILLION, abs=60)
    assert page.bytes < PAGE_BYTES
    assert used < 80 * MIB


def write_million(folder: Path) -> None:
    """A finished batch as large and as unkind as a page must bear: noise, and long names."""
    Output(str(folder)).claim(record(), "overwrite")
    names = np.array(["cropped", "failed", "no_face"])
    with (
        pq.ParquetWriter(folder / "manifest.parquet", MANIFEST_SCHEMA) as manifest,
        pq.ParquetWriter(folder / "faces.parquet", FACES_SCHEMA) as faces,
    ):
        for start in range(0, MILLION, 50_000):
            members = np.arange(start, start + 50_000)
            status = names[members % 3]
            count = (status == "cropped").astype(int)
            bad = [("corrupt_image" if one == "failed" else None) for one in status]
            paths = [f"\U0001f600<&>{'/été' * 100}/{member}.jpg" for member in members.tolist()]
            of_members = {
                "member": members,
                "path": paths,
                "status": status,
                "error": bad,
                "message": ["<" * 500 if one else None for one in bad],
                "bytes": members,
                "width": members,
                "height": members,
                "faces": count,
                "attempts": np.ones_like(members),
            }
            manifest.write_table(as_table(of_members, MANIFEST_SCHEMA))
            theirs = members[count == 1]
            numbers = {
                name: np.full(len(theirs), 40)
                for name in FACES_SCHEMA.names
                if name not in ("member", "path", "landmarks", "matrix", "crop", "kept_why")
            }
            crops = [f"crops/{member % 100}.png" for member in theirs.tolist()]
            of_faces = numbers | {
                "member": theirs,
                "path": [paths[member - start] for member in theirs.tolist()],
                "crop": crops,
            }
            faces.write_table(as_table(of_faces, FACES_SCHEMA))
    noise = np.random.default_rng(1)
    (folder / "crops").mkdir()
    for number in range(100):
        pixels = noise.integers(0, 256, (150, 150, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "crops" / f"{number}.png")
    (folder / "parts").mkdir()
    rows = encode_part([MemberRow(n, "a", Status.NO_FACE, 1) for n in range(400)])
    for chunk in range(MILLION // 400):
        (folder / "parts" / f"{chunk:08d}.parquet").write_bytes(rows)


def as_table(columns: dict[str, Any], schema: pa.Schema) -> pa.Table:
    """A table of the schema, whose other columns are null."""
    length = len(columns["member"])
    arrays = [
        pa.array(columns[each.name]).cast(each.type)
        if each.name in columns
        else pa.nulls(length, each.type)
        for each in schema
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


def report_on(folder: str) -> int:
    """Write the report; give the memory that it took at its peak, in bytes."""
    import detection.contact_sheet  # noqa: F401 its libraries, which lie in memory once

    output = Output(folder)
    totals = output.totals()  # what a flow has done before, too
    Path("/proc/self/clear_refs").write_text("5")  # proc(5): the peak is what is used now
    before = memory("VmRSS")
    write_report(output, summary(output, totals))
    return memory("VmHWM") - before


def memory(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    (kib,) = (line.split()[1] for line in lines if line.startswith(f"{field}:"))
    return int(kib) << 10

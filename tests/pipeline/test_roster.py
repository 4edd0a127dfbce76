"""A batch with a roster: names, tables, and who is left over on either side."""

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from intake.cli.render import render
from pipeline.batch import open_shard, plan, reopen
from pipeline.local import crop
from pipeline.preview.run import preview
from pipeline.settings import CropSettings, RunSettings
from pipeline.summary import Summary
from storage.archives.plan import encode_chunks
from storage.errors import OutputError
from storage.output.output import Output
from storage.roster import RosterError
from tasks.reporting import page
from tests.flows.batches import files, result
from tests.pictures import astronaut, astronaut_jpeg, encoded, group, no_face_jpeg
from tests.pipeline.test_report import Page

pytestmark = pytest.mark.slow  # all of them together

PEOPLE = (
    "Stem;Last;First;Class\r\nimg_1;Müller;Ann/Marie;3b\r\nIMG_2.jpg;=1+1;Ben;3b\r\n"
    "IMG_7;Doe;Zoë;4a\r\nIMG_4;Broken;Carl;4a\r\n;Nokey;Dora;4a\r\n"
)
PHOTOS = {
    "3b/IMG_1.jpg": encoded(group((512, 400), (1000, 512)), "JPEG", quality=92),
    "3b/IMG_2.JPG": astronaut_jpeg(),
    "4a/IMG_3.jpg": encoded(astronaut(400), "JPEG"),
    "4a/IMG_4.jpg": astronaut_jpeg()[:5000],
    "4a/IMG_5.jpg": no_face_jpeg(),
    "notes.txt": b"not a picture",
}


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    (tmp_path / "people.csv").write_bytes(PEOPLE.encode("cp1252"))
    place = tmp_path / "photos.zip"
    with zipfile.ZipFile(place, "w") as packed:
        for name, data in PHOTOS.items():
            packed.writestr(name, data)
    return place


def settings(archive: Path, **others: Any) -> CropSettings:
    roster = {"file": str(archive.parent / "people.csv")}
    output = {"name": "{Class}/{Last}_{First}_{rank}"}
    given = {"roster": roster, "output": output, "chunk": {"members": 2}, **others}
    return CropSettings.model_validate(given)


def joined(rows: list[dict[str, Any]]) -> list[str | None]:
    assert all(("roster_Stem" in row, "roster_Class" in row) == (True, True) for row in rows)
    return [row["roster_Last"] for row in rows]


def test_a_roster_gives_names_and_columns_and_says_who_is_left_over(
    archive: Path, tmp_path: Path
) -> None:
    summary = crop(str(archive), f"{tmp_path}/out", settings(archive))
    whole = result(f"{tmp_path}/out")
    assert [row["crop"] for row in whole.faces] == [
        "crops/3b/Müller_Ann_Marie_0.jpg",
        "crops/3b/Müller_Ann_Marie_1.jpg",
        "crops/3b/=1+1_Ben_0.jpg",
        "crops/_unmatched/4a/IMG_3.jpg_0.jpg",
    ]
    assert joined(whole.faces) == ["Müller", "Müller", "=1+1", None]
    assert joined(whole.manifest) == ["Müller", "=1+1", None, "Broken", None, None]
    assert whole.manifest[2]["warnings"] == ["name_changed"]

    made = files(f"{tmp_path}/out")
    assert made["unmatched.csv"].decode("utf-8-sig").splitlines() == [
        "what,member,path,Stem,Last,First,Class",
        "photograph,2,4a/IMG_3.jpg",
        "photograph,4,4a/IMG_5.jpg",
        "person,,,IMG_7,Doe,Zoë,4a",
        "person,,,,Nokey,Dora,4a",
    ]
    assert (summary.unknown_photos, summary.missing_people) == (2, 2)
    assert json.loads(made["summary.json"])["missing_people"] == 2
    assert Output(f"{tmp_path}/out").totals().unknown_photos == 2
    assert any("Windows-1252" in line for line in summary.notes)
    assert (
        "unmatched.csv (photographs of nobody in the roster 2, people without a photograph 2)"
        in render(summary)
    )
    shown = page.ended(summary, {})
    assert "| People in the roster without a photograph | 2 |" in shown
    assert "unmatched.csv" in shown
    assert Page(f"{tmp_path}/out").data["leftOver"] == {
        "photos": ["4a/IMG_3.jpg", "4a/IMG_5.jpg"],
        "people": ["IMG_7 · Doe · Zoë · 4a", "Nokey · Dora · 4a"],
    }
    Output(f"{tmp_path}/out").remove()
    assert not (tmp_path / "out").exists()


def test_a_batch_goes_on_with_the_roster_that_it_was_begun_with(
    archive: Path, tmp_path: Path
) -> None:
    output, people = f"{tmp_path}/out", tmp_path / "people.csv"
    crop(str(archive), output, settings(archive))
    whole = files(output)
    next((tmp_path / "out/parts").glob("00000001*")).unlink()
    (tmp_path / "out/manifest.parquet").unlink()
    crop(str(archive), output, settings(archive))
    assert {**files(output), "report.html": b"", "summary.json": b""} == {
        **whole,
        **{name: files(output)[name] for name in whole if name.startswith("parts/00000001")},
        **{name: files(output)[name] for name in ("manifest.parquet",)},
        "report.html": b"",
        "summary.json": b"",
    }

    batch = plan(str(archive), output, settings(archive))
    batch.output.put_plan(0, encode_chunks(list(batch.archive.chunks(batch.chunk_size))))
    handed_over = batch.settings.model_dump(mode="json", exclude_defaults=True)  # as tasks do
    shard, _ = open_shard(str(archive), output, 0, CropSettings.model_validate(handed_over))
    assert shard.roster is not None
    reopened, failed = reopen(output, RunSettings())
    assert failed == {1}
    assert reopened.roster == batch.roster == shard.roster

    people.write_bytes(people.read_bytes() + b"IMG_3;New;Eve;4a\r\n")
    with pytest.raises(OutputError, match=r"settings\.roster\.sha256"):
        plan(str(archive), output, settings(archive))
    again = open_shard(str(archive), output, 0, batch.settings)[0]
    with pytest.raises(RosterError, match="not the one that the batch was begun with"):
        assert again.roster


def test_what_does_not_fit_together_is_told_before_the_start(archive: Path, tmp_path: Path) -> None:
    def said(name: str) -> str:
        with pytest.raises(OutputError) as caught:
            plan(str(archive), f"{tmp_path}/out", settings(archive, output={"name": name}))
        return str(caught.value)

    assert "would both be called 3b_0" in said("{Class}_{rank}")
    with pytest.raises(OutputError, match="would both be called 3b_0"):
        preview(
            str(archive), f"{tmp_path}/p.html", settings(archive, output={"name": "{Class}_{rank}"})
        )
    assert preview(str(archive), f"{tmp_path}/p.html", settings(archive)).estimate
    assert "no field {last}; there are" in said("{last}_{rank}")
    assert "{Class}, {First}, {Last}, {Stem}" in said("{last}_{rank}")
    people = tmp_path / "people.csv"
    people.write_bytes(people.read_bytes().replace(b"Class", b"page"))
    assert "{page} is a field and a column of" in said("{member}_{page}_{rank}")
    assert not (tmp_path / "out").exists()
    crop(str(archive), f"{tmp_path}/out", CropSettings())
    overwrite: dict[str, Any] = {"run": {"existing": "overwrite"}}
    mine = {"file": f"{tmp_path}/out/failed.csv", "key": "path"}
    with pytest.raises(OutputError, match=r"failed\.csv lies in what would be removed"):
        plan(
            str(archive), f"{tmp_path}/out", settings(archive, roster=mine, output={}, **overwrite)
        )


def test_a_roster_joins_the_tables_without_names(archive: Path, tmp_path: Path) -> None:
    roster = {"file": str(tmp_path / "people.csv"), "key": "subject"}
    (tmp_path / "people.csv").write_text("subject,teacher\n3B,Ms X\n5c,Mr Y\n")
    packed = {"layout": "parquet"}
    given = {"roster": roster, "output": packed, "crop": {"max_faces": 1}}
    summary: Summary = crop(str(archive), f"{tmp_path}/out", CropSettings.model_validate(given))
    rows = result(f"{tmp_path}/out").manifest
    assert [row["roster_teacher"] for row in rows] == ["Ms X", "Ms X", None, None, None, None]
    assert (summary.unknown_photos, summary.missing_people) == (3, 1)

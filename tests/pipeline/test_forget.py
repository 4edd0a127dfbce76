"""A photograph is forgotten: nothing of it is left, and nothing brings it back."""

import hashlib
import io
import json
import shutil
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import fsspec
import pyarrow.parquet as pq
import pytest

from intake.cli.main import main
from pipeline import forget as forgetting
from pipeline.batch import plan, reopen
from pipeline.chunk import retry_failed_members
from pipeline.forget import forget, look_up
from pipeline.images import ImagePool
from pipeline.local import crop
from pipeline.recrop.local import recrop
from pipeline.recrop.settings import RecropSettings
from pipeline.settings import CropSettings, RunSettings
from storage.errors import OutputError
from storage.output.finding import Wanted
from storage.output.forgetting import ForgettingOutput
from storage.output.output import Output
from tests.cut_off import cut_off
from tests.flows.batches import Result, files, result
from tests.pictures import astronaut_jpeg
from tests.services import S3

pytestmark = pytest.mark.slow

NAME = "class/Anna Example.jpg"
OTHERS = ("class/ben.jpg", "class/cleo.jpg", "d.jpg", "broken.jpg", "notes.txt")
BASE: dict[str, Any] = {"chunk": {"members": 3}, "run": {"threads": 2}}


def settings(**more: Any) -> CropSettings:
    return CropSettings.model_validate(BASE | more)


def content(name: str) -> bytes:
    if name.endswith(".txt"):
        return b"no image"
    return b"\xff\xd8\xff" if "broken" in name else astronaut_jpeg(128 + 8 * len(name))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    for name in (NAME, *OTHERS):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content(name))
    (folder / "twin.jpg").write_bytes(content(NAME))  # the same under another name
    return folder


def forget_it(output: Path | str, name: str = NAME) -> dict[str, Any]:
    return forget(str(output), look_up(str(output), Wanted(path=name)).rows)


def texts(name: str, data: bytes) -> str:
    """All that a file of an output says, its name first."""
    if name.endswith(".parquet"):
        table = pq.read_table(io.BytesIO(data))
        return f"{name} {table.to_pylist()} {table.schema.metadata}"
    if name.endswith(".tar"):
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            inside = {one.name: tar.extractfile(one) for one in tar}
            return f"{name} {[(key, file and file.read()) for key, file in inside.items()]}"
    return f"{name} {data.decode('utf-8', 'backslashreplace')}"


def is_told(output: Path | str, text: str) -> list[str]:
    """The files that say something, in their names or in what they hold."""
    said = {name: texts(name, data) for name, data in files(str(output)).items()}
    return [name for name, all_of_it in said.items() if text in all_of_it]


def others(made: Result) -> list[dict[str, Any]]:
    return [row for row in made.manifest if row["path"] not in (NAME, "twin.jpg", "")]


@pytest.mark.parametrize(
    "chosen",
    [{}, {"layout": "shards"}, {"layout": "parquet"}, {"kind": "blurred"}],
    ids=["files", "shards", "parquet", "blurred"],
)
def test_nothing_of_it_is_left_and_all_else_stays(
    photos: Path, tmp_path: Path, chosen: dict[str, str]
) -> None:
    output = tmp_path / "out"
    crop(str(photos), str(output), settings(output=chosen))
    before = result(str(output))
    (output / "mine.txt").write_text("a stranger's")
    (output / "crops").mkdir(exist_ok=True)
    (output / "crops" / "mine.txt").write_text("a stranger's")
    digest = hashlib.sha256(content(NAME)).hexdigest()
    assert is_told(output, "Anna Example")
    assert is_told(output, digest)

    receipt = forget_it(output)
    assert is_told(output, "Anna Example") == []
    assert is_told(output, "twin.jpg") == []
    assert is_told(output, digest) == ["batch.json"]  # so that nothing brings it back
    made = result(str(output))
    assert [row["member"] for row in made.manifest] == list(range(7))
    assert others(made) == others(before)
    blank = [row for row in made.manifest if row["error"] == "forgotten"]
    assert [row["member"] for row in blank] == receipt["members"] == [1, 6]
    assert all(not row["path"] and row["sha256"] is None for row in blank)
    assert {row["path"] for row in made.faces} == {*OTHERS[:3]}
    assert (output / "mine.txt").read_text() == "a stranger's"
    assert (output / "crops" / "mine.txt").read_text() == "a stranger's"
    assert json.loads((output / "forgotten.json").read_text()) == [receipt]
    assert receipt["rows"]["parts"] == 2
    assert all(then != now for then, now in receipt["rewritten"].values())
    for name, (_, now) in receipt["rewritten"].items():
        assert hashlib.sha256((output / name).read_bytes()).hexdigest() == now

    (output / "manifest.parquet").unlink()
    summary = crop(str(photos), str(output), settings(output=chosen))
    assert result(str(output)) == made
    assert (summary.members, summary.skips) == (7, {"not_an_image": 1, "forgotten": 2})
    with pytest.raises(OutputError, match="has forgotten it already"):
        look_up(str(output), Wanted(path=NAME))


def test_nothing_brings_it_back(photos: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    packed = {"layout": "shards"}  # whose chunks are cropped again as a whole
    crop(str(photos), str(output), settings(output=packed))
    forget_it(output)
    made = result(str(output))

    batch, failed = reopen(str(output), RunSettings(threads=2))
    with ImagePool(2) as images:
        for chunk in batch.archive.chunks(batch.chunk_size):
            if chunk.number in failed:
                retry_failed_members(batch, chunk, images, last_attempt=True)
    batch.finish(7, 3)
    again = result(str(output))
    assert (again.crops, again.faces) == (made.crops, made.faces)
    assert is_told(output, "Anna Example") == []

    for part in (output / "parts").iterdir():
        part.unlink()
    (output / "manifest.parquet").unlink()
    crop(str(photos), str(output), settings(output=packed))
    assert result(str(output)) == made

    (photos / "z" / "other name.jpg").parent.mkdir()
    (photos / "z" / "other name.jpg").write_bytes(content(NAME))
    (photos / "new.jpg").write_bytes(content("new.jpg"))
    extending = settings(output=packed, run={"threads": 2, "existing": "extend"})
    summary = crop(str(photos), str(output), extending)
    assert (summary.members, summary.skips["forgotten"]) == (9, 3)
    assert (summary.gone, summary.changed) == (0, 0)
    assert [row["path"] for row in result(str(output)).manifest[7:]] == ["new.jpg", ""]

    over = settings(run={"threads": 2, "existing": "overwrite"})
    summary = crop(str(photos), str(output), over)
    assert (summary.members, summary.skips["forgotten"]) == (9, 3)
    assert is_told(output, "Anna Example") == []


def test_what_came_twice_goes_both_times(photos: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    once = settings(input={"dedupe": "exact"})
    crop(str(photos), str(output), once)
    assert [row["duplicate_of"] for row in result(str(output)).manifest][6] == 1
    forget_it(output, "twin.jpg")
    made = result(str(output))
    assert [row["member"] for row in made.manifest if row["error"] == "forgotten"] == [1, 6]
    assert is_told(output, "Anna Example") == []
    for part in (output / "parts").iterdir():
        part.unlink()
    (output / "manifest.parquet").unlink()
    crop(str(photos), str(output), once)
    assert result(str(output)) == made


def test_it_is_left_out_when_faces_are_cut_again(photos: Path, tmp_path: Path) -> None:
    output, before, after = (tmp_path / name for name in ("out", "before", "after"))
    crop(str(photos), str(output), settings())
    again = RecropSettings.model_validate({"crop": {"size": 64}, "run": {"threads": 2}})
    recrop(str(output), str(before), again)
    forget_it(before)
    made = result(str(before))
    for part in (before / "parts").iterdir():
        part.unlink()
    (before / "manifest.parquet").unlink()
    recrop(str(output), str(before), again)
    assert result(str(before)) == made
    assert is_told(before, "Anna Example") == []

    forget_it(output)
    recrop(str(output), str(after), again)
    assert is_told(after, "Anna Example") == []
    assert result(str(after)).crops == made.crops


STEPS = [
    (ForgettingOutput, "remove_forgotten", 0),
    (ForgettingOutput, "_rewrite", 0),  # crops are gone, the part is not
    (ForgettingOutput, "_rewrite", 1),
    (ForgettingOutput, "_scrub_lists", 0),
    (ForgettingOutput, "_rewrite_tables", 0),
    (forgetting, "write_report", 0),
    (ForgettingOutput, "end", 0),
    (ForgettingOutput, "_put_record", 1),
]


@pytest.mark.parametrize("layout", ["files", "parquet"])
@pytest.mark.parametrize(("where", "name", "passes"), STEPS)
def test_cut_off_anywhere_it_is_done_again(
    photos: Path, tmp_path: Path, where: Any, name: str, passes: int, layout: str
) -> None:
    output, whole = tmp_path / "out", tmp_path / "whole"
    crop(str(photos), str(output), settings(output={"layout": layout}))
    shutil.copytree(output, whole)
    forget_it(whole)
    cut_off(lambda: forget_it(output), where, name, passes)
    with pytest.raises(OutputError, match="run that `facecrop forget` again first"):
        crop(str(photos), str(output), settings(output={"layout": layout}))
    with pytest.raises(OutputError, match="run that `facecrop forget` again first"):
        reopen(str(output), RunSettings())
    forget_it(output)
    assert result(str(output)) == result(str(whole))
    assert is_told(output, "Anna Example") == []
    crop(str(photos), str(output), settings(output={"layout": layout}))
    assert result(str(output)) == result(str(whole))


def test_a_batch_at_work_is_refused(photos: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    cut_off(lambda: crop(str(photos), str(output), settings()), Output, "finish", 0)
    with pytest.raises(OutputError, match="not finished, or a run is at work"):
        look_up(str(output), Wanted(path=NAME))
    crop(str(photos), str(output), settings())

    batch, failed = reopen(str(output), RunSettings(threads=2))  # one that retries at this moment
    batch.output.put_crops(min(failed), {"crops/x.jpg_0.jpg": b"x"})
    with pytest.raises(OutputError, match="not finished, or a run is at work"):
        look_up(str(output), Wanted(path=NAME))
    crop(str(photos), str(output), settings())

    slow = plan(str(photos), str(output), settings())  # and one of which nothing is seen yet
    forget_it(output)
    with pytest.raises(OutputError, match="was forgotten meanwhile"):
        slow.output.put_part(0, b"")
    with pytest.raises(OutputError, match="was forgotten meanwhile"):
        slow.finish(7, 3)


def test_what_a_roster_gave_goes_without_the_roster(photos: Path, tmp_path: Path) -> None:
    output, roster = tmp_path / "out", tmp_path / "people.csv"
    roster.write_text("stem,name\nAnna Example,Anna E.\nben,Ben B.\nnobody,Zoe Z.\n")
    crop(str(photos), str(output), settings(roster={"file": str(roster), "key": "stem"}))
    assert is_told(output, "Anna E.")
    roster.unlink()
    forget_it(output)
    assert is_told(output, "Anna E") == []
    rows = pq.read_table(output / "manifest.parquet").to_pylist()
    assert {row["path"]: row["roster_name"] for row in rows if row["roster_name"]} == {
        "class/ben.jpg": "Ben B."
    }
    assert "Zoe Z." in (output / "unmatched.csv").read_text("utf-8-sig")


def test_where_an_archive_breaks_it_is_not_named(photos: Path, tmp_path: Path) -> None:
    archive, output = tmp_path / "photos.tar", tmp_path / "out"
    with tarfile.open(archive, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name in ("d.jpg", NAME):
            tar.add(photos / name, name)
    with archive.open("ab") as file:
        file.write(b"uploaded by curl")
    crop(str(archive), str(output), settings())
    assert len(is_told(output, f"(behind {NAME})")) > 3
    forget_it(output)
    assert is_told(output, "Anna Example") == []
    assert "(forgotten)" in Output(str(output)).notes()[0]


def test_which_one_is_meant(photos: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    (photos / "other").mkdir()
    (photos / "other" / "ben.jpg").write_bytes(content("x"))
    crop(str(photos), str(output), settings())
    with pytest.raises(OutputError, match=r"2 photographs called ben\.jpg, class/ben\.jpg for one"):
        look_up(str(output), Wanted(path="ben.jpg"))
    with pytest.raises(OutputError, match="has no photograph of that path"):
        look_up(str(output), Wanted(path="nobody.jpg"))
    (row,) = look_up(str(output), Wanted(path="d.jpg")).rows
    assert look_up(str(output), Wanted(sha256=row["sha256"])).rows == [row]


def test_the_command_shows_first(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive, output = tmp_path / "photos.zip", tmp_path / "out"
    with zipfile.ZipFile(archive, "w") as packed:
        for name in (NAME, *OTHERS):
            packed.writestr(name, content(name))
    crop(str(archive), str(output), settings())
    before = files(str(output))
    assert main(["forget", str(output), "--path", "Anna Example.jpg"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{NAME}: cropped, 1 face",
        f"  crops/{NAME}_0.jpg",
        "1 photograph with 1 crop may go, with all rows, for good; --yes removes all of it",
    ]
    assert files(str(output)) == before
    assert main(["forget", str(output), "--path", "Anna Example.jpg", "--yes", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["members"] == [0]
    assert is_told(output, "Anna Example") == []
    assert main(["forget", str(output), "--path", NAME]) == 1
    assert "has forgotten it already" in capsys.readouterr().err
    Output(str(output)).remove()
    assert not output.exists()


def test_on_an_object_store(photos: Path, tmp_path: Path, s3: S3) -> None:
    output = f"s3://{s3.bucket}/{tmp_path.name}"
    crop(str(photos), output, settings(output={"layout": "shards"}))
    before = result(output)
    forget_it(output)
    assert is_told(output, "Anna Example") == []
    made = result(output)
    assert others(made) == others(before)
    fs = fsspec.filesystem("s3", use_listings_cache=False)
    fs.rm(f"{s3.bucket}/{tmp_path.name}/manifest.parquet")
    crop(str(photos), output, settings(output={"layout": "shards"}))
    assert result(output) == made

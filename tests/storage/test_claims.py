"""Nothing of others is removed from an output, and one batch alone has it."""

import errno
import io
import itertools
import json
import os
import re
import threading
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import fsspec
import pytest

from storage.errors import OutputError, TransientError
from storage.output.claim import Existing
from storage.output.counts import Status
from storage.output.folder import Folder
from storage.output.manifest import AccountingError, FaceRow, MemberRow, encode_part
from storage.output.output import Output
from storage.output.written import is_anothers, left_over
from tests.flows.batches import files
from tests.services import S3


def record(size: int = 300, **more: Any) -> dict[str, Any]:
    """A batch, a claim of its own each time."""
    return {
        "format": 3,
        "id": str(uuid4()),
        "archive": {"uri": "photos.zip", "size": 10, "version": "1"},
        "settings": {"crop": {"size": size}},
        **more,
    }


def part(batch: dict[str, Any], *crops: str) -> bytes:
    """A part with one member, whose faces have these crops."""
    faces = [
        FaceRow(rank, 0, 0, 0, 9, 9, 0.9, None, 0, 0, 9, 0, 1, crop)
        for rank, crop in enumerate(crops)
    ]
    row = MemberRow(0, "a.jpg", Status.CROPPED, 5, face_rows=faces)
    return encode_part([row], batch["id"])


def crop(place: str, batch: dict[str, Any], existing: Any = "resume") -> Output:
    """A finished batch with one crop."""
    output = Output(place)
    output.claim(batch, existing)
    output.put_crops(0, {"crops/a.jpg_0.jpg": b"a face"})
    output.put_part(0, part(batch, "crops/a.jpg_0.jpg"))
    output.finish(1, 1)
    return output


@pytest.fixture(params=["local", "memory", pytest.param("s3", marks=pytest.mark.service)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "local":
        yield str(tmp_path / "out")
    elif request.param == "memory":
        yield f"memory://{tmp_path.name}/out"
        fsspec.filesystem("memory").rm(f"/{tmp_path.name}", recursive=True)
    else:
        s3: S3 = request.getfixturevalue("s3")
        yield f"s3://{s3.bucket}/{tmp_path.name}/out"


STRANGE = (
    *("crops/photos.zip", "plan/a.txt", "parts/b.txt", "report.html", "failed.csv"),
    "skipped.csv",
    *("summary.json", "x.jpg"),
)


@pytest.mark.parametrize("name", STRANGE[:-1])
@pytest.mark.parametrize("existing", ["resume", "overwrite"])
def test_without_a_batch_nothing_is_touched(place: str, name: str, existing: Any) -> None:
    fsspec.open(f"{place}/{name}", "wb").open().close()
    with pytest.raises(OutputError, match=r"Name another output") as refused:
        Output(place).claim(record(), existing)
    assert "overwrite" not in str(refused.value)
    assert set(files(place)) == {name}


@pytest.mark.parametrize("finished", [True, False])
def test_overwriting_removes_what_facecrop_wrote_and_nothing_else(
    place: str, finished: bool
) -> None:
    old = record()
    if finished:
        crop(place, old)
    else:
        output = Output(place)
        output.claim(old, "resume")
        output.put_crops(0, {"crops/a.jpg_0.jpg": b"of a chunk that was killed"})
        output.put_plan(0, b"chunks")
    strange = ("crops/photos.zip", "crops/b/mine.jpg", "plan/a.txt", "parts/b.txt", "x.jpg")
    for name in strange:
        with fsspec.open(f"{place}/{name}", "wb") as file:
            file.write(b"mine")
    Output(place).claim(record(400), "overwrite")
    assert set(files(place)) == {"batch.json", *strange}


def test_a_file_of_others_is_never_written_over(place: str) -> None:
    crop(place, record())
    with fsspec.open(f"{place}/crops/b.jpg_0.jpg", "wb") as file:
        file.write(b"mine")
    output = Output(place)
    output.claim(record(400), "overwrite")
    with pytest.raises(OutputError, match=r"b\.jpg_0\.jpg is in the way"):
        output.put_crops(0, {"crops/b.jpg_0.jpg": b"a face"})
    assert files(place)["crops/b.jpg_0.jpg"] == b"mine"


def answer(
    monkeypatch: pytest.MonkeyPatch, output: Output, name: str, *answers: OSError | bytes
) -> list[OSError | bytes]:
    """Have the store answer so as a file is opened, then as it is; gives what is still to come."""
    fs = output._folder.fs
    real = fs.open
    left = [*answers]

    def opened(path: str, *given: Any, **options: Any) -> Any:
        if not (str(path).endswith(name) and left):
            return real(path, *given, **options)
        now = left.pop(0)
        if isinstance(now, OSError):
            raise now
        return io.BytesIO(now)

    monkeypatch.setattr(fs, "open", opened)
    return left


@pytest.mark.parametrize("name", ["faces.parquet", "manifest.parquet"])
def test_a_store_that_fails_makes_no_table_another_s(
    place: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = crop(place, record())
    fails = OSError(errno.EIO, "Input/output error")
    left = answer(monkeypatch, output, name, fails, b"bytes of another range")
    with pytest.raises(TransientError, match="Input/output error"):
        output.finish(1, 1)
    assert len(left) == 1
    output.finish(1, 1)
    assert not left


def test_a_wrong_answer_makes_no_summary_another_s(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = crop(place, record())
    left = answer(monkeypatch, output, "summary.json", b"bytes of another range")
    assert not is_anothers(output._folder, "summary.json")
    assert not left


@pytest.mark.parametrize(
    "name", ["report.html", "failed.csv", "skipped.csv", "faces.parquet", "manifest.parquet"]
)
def test_a_table_or_report_of_others_is_never_written_over(place: str, name: str) -> None:
    def put_mine() -> None:
        with fsspec.open(f"{place}/{name}", "wb") as file:
            file.write(b"mine")

    crop(place, record())
    put_mine()
    before = files(place)
    with pytest.raises(OutputError, match=f"{re.escape(name)} is in the way"):
        Output(place).claim(record(400), "overwrite")
    assert files(place) == before
    fs, path = fsspec.url_to_fs(place, use_listings_cache=False)
    fs.rm_file(f"{path}/{name}")
    new = record(400)
    output = Output(place)
    output.claim(new, "overwrite")
    output.put_part(0, part(new))
    put_mine()  # while the batch runs
    report = partial(output.put_report, b"<title>Facecrop</title>")
    write = report if name == "report.html" else partial(output.finish, 1, 1)
    with pytest.raises(OutputError, match=f"{re.escape(name)} is in the way"):
        write()
    assert files(place)[name] == b"mine"


CUT_SHORT = itertools.product(
    ["faces.parquet", "manifest.parquet", "failed.csv", "skipped.csv", "report.html"],
    [0, 2, 4, 40, 200],
    ["resume", "overwrite"],
)
# what is left says whose it is, wherever it lies: of the other places a few cases do
SOME_CUT_SHORT = (
    ("faces.parquet", 0, "resume"),
    ("manifest.parquet", 200, "overwrite"),
    ("failed.csv", 2, "overwrite"),
    ("report.html", 0, "resume"),
)


@pytest.mark.parametrize(
    ("place", "name", "kept", "existing"),
    [
        *(("local", *case) for case in CUT_SHORT),
        *(("memory", *case) for case in SOME_CUT_SHORT),
        *(pytest.param("s3", *case, marks=pytest.mark.service) for case in SOME_CUT_SHORT),
    ],
    indirect=["place"],
)
def test_a_table_that_was_cut_short_is_written_anew(
    place: str, name: str, kept: int, existing: Any
) -> None:
    before, page = record(), b"<title>Facecrop</title>" * 10
    crop(place, before).put_report(page)
    whole = files(place)[name]
    with fsspec.open(f"{place}/{name}", "wb") as file:
        file.write(whole[:kept])
    new = record(400) if existing == "overwrite" else before
    if 0 < kept < 40 and name in ("failed.csv", "skipped.csv", "report.html"):
        with pytest.raises(OutputError, match=f"{re.escape(name)} is in the way"):
            crop(place, new, existing).put_report(page)  # a few letters may be anyone's
        assert files(place)[name] == whole[:kept]
    else:
        crop(place, new, existing).put_report(page)
        assert len(files(place)[name]) == len(whole)


@pytest.mark.parametrize("source", ["crops/photos.zip", "crops", "parts/x/y.tar", "report.html"])
def test_what_is_read_may_not_be_removed(tmp_path: Path, source: str) -> None:
    crop(str(tmp_path / "out"), record())
    before = files(str(tmp_path / "out"))
    (tmp_path / "link").symlink_to(tmp_path / "out")
    for spelled in (f"{tmp_path}/out/{source}", f"{tmp_path}/link//{source}"):
        with pytest.raises(OutputError, match="Nothing was touched"):
            Output(str(tmp_path / "out")).claim(
                record(400), "overwrite", sources=partial(list, [spelled])
            )
    assert files(str(tmp_path / "out")) == before


def test_no_link_is_followed_when_crops_are_removed(tmp_path: Path) -> None:
    crop(str(tmp_path / "out"), record())
    elsewhere = tmp_path / "elsewhere"
    (tmp_path / "out" / "crops").rename(elsewhere)
    (tmp_path / "out" / "crops").symlink_to(elsewhere)
    Output(str(tmp_path / "out")).claim(record(400), "overwrite")
    assert (elsewhere / "a.jpg_0.jpg").read_bytes() == b"a face"


@pytest.mark.parametrize("damage", [b'{"format": 3, "arch', b"", b"\0" * 40, b"\xff\xfe"])
def test_a_damaged_record_can_be_overwritten_as_its_message_says(place: str, damage: bytes) -> None:
    crop(place, record())
    for name in ("batch.json", "crops/mine.jpg"):
        with fsspec.open(f"{place}/{name}", "wb") as file:
            file.write(damage)
    with pytest.raises(OutputError, match="overwrite"):
        Output(place).claim(record(), "resume")
    Output(place).claim(record(), "overwrite")
    assert set(files(place)) == {"batch.json", "crops/mine.jpg"}


@pytest.mark.parametrize("text", ["{}", "[]", '"x"', '{"jobs": []}'])
def test_a_strangers_record_is_left_alone(place: str, text: str) -> None:
    with fsspec.open(f"{place}/batch.json", "w") as file:
        file.write(text)
    both: tuple[Existing, ...] = ("resume", "overwrite")
    for existing in both:
        with pytest.raises(OutputError, match="not one of Facecrop's"):
            Output(place).claim(record(), existing)
    assert files(place) == {"batch.json": text.encode()}


def test_removing_an_output_leaves_what_others_put_there(place: str) -> None:
    output = crop(place, record())
    with fsspec.open(f"{place}/crops/mine.jpg", "wb") as file:
        file.write(b"mine")
    assert output.remove() == ["crops/mine.jpg"]
    assert set(files(place)) == {"crops/mine.jpg"}
    with pytest.raises(OutputError, match="holds no batch"):
        output.remove()


def test_one_of_two_batches_is_granted_a_new_output(place: str) -> None:
    for turn in range(10):
        where = f"{place}/{turn}"
        batches = [record(300), record(400)]
        granted: list[str] = []
        ready = threading.Barrier(2)

        def claim(batch: dict[str, Any], where: str = where, ready: Any = ready) -> None:
            output = Output(where)
            ready.wait()
            try:
                granted.append(output.claim(batch, "resume").record["id"])  # noqa: B023
            except OutputError:
                return

        threads = [threading.Thread(target=claim, args=[batch]) for batch in batches]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(granted) == 1
        assert json.loads(files(where)["batch.json"])["id"] == granted[0]


def test_who_looks_as_another_run_begins_goes_on_with_its_batch(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = record()
    fs, path = fsspec.url_to_fs(place)

    def begin(folder: Folder, most: int) -> list[str]:
        """What another run does between two looks of this one."""
        fs.makedirs(f"{path}/plan", exist_ok=True)
        fs.pipe_file(f"{path}/batch.json", json.dumps(begun).encode())
        fs.pipe_file(f"{path}/plan/000000-{begun['id'][:8]}.parquet", b"PAR1")
        return left_over(folder, most)

    monkeypatch.setattr("storage.output.claim.left_over", begin)
    assert Output(place).claim(record(), "resume").record["id"] == begun["id"]


def test_a_run_whose_output_was_taken_writes_nothing_more(place: str) -> None:
    old, new = record(300), record(400)
    first = Output(place)
    first.claim(old, "resume")
    second = Output(place)
    second.claim(new, "overwrite")
    second.put_crops(0, {"crops/a.jpg_0.jpg": b"of the new one"})
    taken = r"no longer this batch's"
    with pytest.raises(OutputError, match=taken):
        first.put_crops(0, {"crops/a.jpg_0.jpg": b"of the old one"})
    with pytest.raises(OutputError, match=taken):
        first.put_part(0, part(old, "crops/a.jpg_0.jpg"))
    with pytest.raises(OutputError, match=taken):
        first.put_report(b"old")
    with pytest.raises(OutputError, match=taken):
        first.put_plan(0, b"old")
    second.put_part(0, part(new, "crops/a.jpg_0.jpg"))
    with pytest.raises((OutputError, AccountingError), match=r"no longer this batch's|is missing"):
        first.finish(1, 1)
    second.finish(1, 1)
    assert files(place)["crops/a.jpg_0.jpg"] == b"of the new one"


def test_what_is_being_written_when_the_output_is_taken_never_arrives(tmp_path: Path) -> None:
    first = Output(str(tmp_path))
    first.claim(record(300), "resume")
    check = first._check

    def taken_meanwhile() -> None:
        check()
        Output(str(tmp_path)).claim(record(400), "overwrite")

    first._check = taken_meanwhile  # type: ignore[method-assign]
    with pytest.raises(OutputError, match="no longer this batch's"):
        first._put({"crops/a.jpg_0.jpg": b"of the old one"})
    assert set(files(str(tmp_path))) == {"batch.json"}


def test_a_part_of_another_claim_does_not_count(place: str) -> None:
    old, new = record(), record(400)
    data = part(old)
    output = crop(place, old)
    output = Output(place)
    output.claim(new, "overwrite")
    with fsspec.open(f"{place}/parts/00000000-{old['id'][:8]}.parquet", "wb") as file:
        file.write(data)
    assert output.claim(new, "resume").done == set()
    output.put_part(0, data)  # under the right name, with another's rows
    with pytest.raises(AccountingError, match="of another batch"):
        output.finish(1, 1)


def test_a_run_that_crashed_resumes_what_it_had_overwritten(place: str) -> None:
    crop(place, record(300))
    mine = record(400, run="a run", created="2026-01-02", asked="2026-01-01")
    output = Output(place)
    output.claim(mine, "overwrite")
    output.put_part(0, part(mine))
    again = Output(place).claim(mine | {"id": str(uuid4())}, "overwrite")
    assert again.done == {0}
    assert again.record["id"] == mine["id"]
    older = record(500, run="another", asked="2026-01-01", created="2026-01-03")
    with pytest.raises(OutputError, match="begun after this run was asked for"):
        Output(place).claim(older, "overwrite")


def test_making_room_goes_on_where_it_was_killed(place: str) -> None:
    crop(place, record(300))
    new = record(400)
    fs, path = fsspec.url_to_fs(f"{place}/batch.json", use_listings_cache=False)
    fs.pipe_file(path, json.dumps({**new, "replaces": "x"}).encode())
    assert Output(place).claim(new, "resume").done == set()
    assert set(files(place)) == {"batch.json"}


def test_who_was_taken_for_dead_removes_no_crop_of_who_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = f"memory://{tmp_path.name}/out"  # where nothing keeps two claims apart
    many = {f"crops/{number}.jpg_0.jpg": b"old" for number in range(2500)}
    old = record()
    output = Output(place)
    output.claim(old, "resume")
    output.put_crops(0, many)
    output.put_part(0, part(old, *many))
    output.finish(1, 1)
    new = record(400, run="r")
    remove = Folder.remove
    went_on: list[bool] = []

    def stall(self: Folder, names: Iterable[str]) -> None:
        if not went_on:
            went_on.append(True)  # the same run again, in another process
            again = Output(place)
            again.claim(record(400, run="r"), "overwrite")
            again.put_crops(0, dict.fromkeys(many, b"new"))
        remove(self, names)

    monkeypatch.setattr(Folder, "remove", stall)
    with pytest.raises(TransientError):
        Output(place).claim(new, "overwrite")
    left = [name for name, data in files(place).items() if data == b"new"]
    assert len(left) >= 1500  # but for those that it was just removing
    fsspec.filesystem("memory").rm(f"/{tmp_path.name}", recursive=True)


def test_a_living_writers_files_outlive_the_end_of_another_run(tmp_path: Path) -> None:
    batch = record()
    writing = Output(str(tmp_path))
    writing.claim(batch, "resume")
    with writing._folder.room(batch["id"]) as folder:
        (folder / "0").write_bytes(b"half a cr")
        crop(str(tmp_path), batch)
        assert (folder / "0").exists()
    crop(str(tmp_path), batch)
    assert not (tmp_path / ".tmp").exists()


def test_an_output_in_the_archive_is_known_however_it_is_spelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = tmp_path / "photos"
    (photos / "there").mkdir(parents=True)
    (tmp_path / "link").symlink_to(photos)
    monkeypatch.chdir(tmp_path)
    for spelled in ("photos/new/out", "link/new", "photos//new", "./x/../photos/new", "photos"):
        assert Output(f"{tmp_path}/{spelled}").lies_in(str(photos)), spelled
        assert Output(spelled).lies_in(f"{tmp_path}/link/"), spelled
    if os.path.exists("/proc/self/cwd"):  # noqa: PTH110
        assert Output("/proc/self/cwd/photos/new").lies_in(str(photos))
    assert not Output(f"{tmp_path}/photos-new").lies_in(str(photos))
    assert not Output(str(tmp_path)).lies_in(str(photos))


@pytest.mark.slow
def test_writers_that_come_and_go_do_not_disturb_each_other(tmp_path: Path) -> None:
    output = Output(str(tmp_path))
    output.claim(record(), "resume")
    failed: list[BaseException] = []

    def write(thread: int) -> None:
        try:
            for _ in range(300):
                with output._folder.room(output.claimed) as folder:
                    (folder / str(thread)).write_bytes(b"")
        except BaseException as error:  # noqa: BLE001 told by the assertion below
            failed.append(error)

    threads = [threading.Thread(target=write, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert not (tmp_path / ".tmp").exists()

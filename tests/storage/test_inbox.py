import os
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import fsspec
import pytest

from storage.errors import ArchiveError, OutputError
from storage.fs.fingerprint import Fingerprint, written_at
from storage.inbox import Arrival, batch_output, new_arrivals
from storage.output.output import Output
from tests.services import S3

NOW = 1_800_000_000.0
PHOTOS = Arrival("a/photos.zip", "/in/a/photos.zip", Fingerprint(10, "1"), NOW - 100)
NAMES = (
    *("photos.zip", "old.TAR", "a.tar.gz", "b.tgz", "c.tar.zst", "class 5a/Fotos für Oma.Zip"),
    *("report.pdf", "a.jpg", "list.txt", "d.gz", "e.zst", "f.zip.part", "g.tar.filepart"),
    *(
        "h.zip.crdownload",
        "i.zip.tmp",
        ".hidden.zip",
        ".sync/j.zip",
        ".photos.zip.Xy3",
        "zip",
        ".zip",
    ),
)
ARCHIVES = {"photos.zip", "old.TAR", "a.tar.gz", "b.tgz", "c.tar.zst", "class 5a/Fotos für Oma.Zip"}


@pytest.fixture(params=["local", "memory", pytest.param("s3", marks=pytest.mark.service)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A place for an inbox and an output on each kind of storage, with nothing in it."""
    if request.param == "local":
        yield str(tmp_path)
    elif request.param == "memory":
        yield f"memory://{tmp_path.name}"
        fsspec.filesystem("memory").rm(f"/{tmp_path.name}", recursive=True)
    else:
        s3: S3 = request.getfixturevalue("s3")
        yield f"s3://{s3.bucket}/{tmp_path.name}"


def put(place: str, name: str, data: bytes = b"PK") -> None:
    fs, path = fsspec.url_to_fs(f"{place}/{name}", use_listings_cache=False)
    fs.makedirs(fs._parent(path), exist_ok=True)
    fs.pipe_file(path, data)


def names(inbox: str, output: str) -> list[str]:
    return [arrival.name for arrival in new_arrivals(inbox, output)]


def test_archives_are_told_by_their_names_wherever_they_lie(place: str) -> None:
    for name in NAMES:
        put(f"{place}/in", name)
    assert set(names(f"{place}/in", f"{place}/out")) == ARCHIVES
    assert set(names(f"{place}/in/", f"{place}/out/")) == ARCHIVES
    assert names(f"{place}/in/class 5a", f"{place}/out") == ["Fotos für Oma.Zip"]


def test_an_arrival_is_what_a_batch_would_open(place: str) -> None:
    before = time.time()
    put(f"{place}/in", "a b/photos.zip", b"PK12345")
    (arrival,) = new_arrivals(f"{place}/in/", f"{place}/out")
    assert arrival.uri == f"{place}/in/a b/photos.zip"
    assert before - 2 < arrival.modified < time.time() + 2  # object stores round to seconds
    assert arrival.changed() is None
    assert batch_output(f"{place}/out/", arrival) == f"{place}/out/{arrival.folder}"


def test_another_content_under_the_same_name_is_another_archive(place: str) -> None:
    put(f"{place}/in", "photos.zip", b"PK1")
    (old,) = new_arrivals(f"{place}/in", f"{place}/out")
    put(f"{place}/in", "photos.zip", b"PK22")
    assert old.changed() == "it was changed just now"
    (new,) = new_arrivals(f"{place}/in", f"{place}/out")
    assert new.uri == old.uri
    assert new.key != old.key
    assert new.folder != old.folder
    fs, path = fsspec.url_to_fs(new.uri)
    fs.rm_file(path)
    assert "not found" in str(new.changed())


def test_an_archive_with_a_batch_is_no_longer_new(place: str) -> None:
    put(f"{place}/in", "one.zip")
    put(f"{place}/in", "two.zip")
    output = f"{place}/out"
    (one,) = (
        arrival for arrival in new_arrivals(f"{place}/in", output) if arrival.name == "one.zip"
    )
    record = {"format": 1, "archive": {"uri": one.uri}, "settings": {}}
    Output(batch_output(output, one)).claim(record, "resume")
    assert names(f"{place}/in", output) == ["two.zip"]
    put(f"{place}/in", "one.zip", b"PK again")
    assert set(names(f"{place}/in", output)) == {"one.zip", "two.zip"}


def test_a_local_folder_without_its_record_is_no_batch(tmp_path: Path) -> None:
    put(f"{tmp_path}/in", "photos.zip")
    (arrival,) = new_arrivals(f"{tmp_path}/in", f"{tmp_path}/out")
    (tmp_path / "out" / arrival.folder / ".tmp").mkdir(parents=True)  # killed on the way to it
    assert names(f"{tmp_path}/in", f"{tmp_path}/out") == ["photos.zip"]


def test_a_folder_is_one_archive_that_grows(place: str) -> None:
    for name in ("class/a.jpg", "class/b/photos.zip", "class/b/c.jpg", ".hidden/x.jpg", "one.zip"):
        put(f"{place}/in", name)
    found = {one.name: one for one in new_arrivals(f"{place}/in", f"{place}/out", folders=True)}
    assert sorted(found) == ["class", "one.zip"]
    before = found["class"]
    assert before.uri == f"{place}/in/class/"
    assert before.fingerprint.size == 6
    assert before.growing(before.modified + 60, 60) is None
    assert before.changed() is None
    Output(batch_output(f"{place}/out", before)).claim(
        {"format": 1, "archive": {"uri": before.uri}, "settings": {}}, "resume"
    )
    put(f"{place}/in", "class/b/d.jpg")
    assert before.changed() == "it was changed just now"
    (grown,) = (
        one for one in new_arrivals(f"{place}/in", f"{place}/out", folders=True) if one.is_folder
    )
    assert (grown.folder, grown.tag) == (before.folder, before.tag)
    assert grown.key != before.key
    put(f"{place}/in", "class/e.jpg.part")
    (copied,) = (
        one for one in new_arrivals(f"{place}/in", f"{place}/out", folders=True) if one.is_folder
    )
    assert copied.growing(copied.modified + 60, 60) == "e.jpg.part in it is being copied"
    assert names(f"{place}/in", f"{place}/out") == ["class/b/photos.zip", "one.zip"]


def test_a_file_that_keeps_its_time_when_it_is_copied_is_seen_by_its_folder(tmp_path: Path) -> None:
    put(f"{tmp_path}/in", "class/a.jpg")
    os.utime(tmp_path / "in/class/a.jpg", (NOW, NOW))
    os.utime(tmp_path / "in/class", (NOW + 500, NOW + 500))
    (arrival,) = new_arrivals(f"{tmp_path}/in", f"{tmp_path}/out", folders=True)
    assert arrival.modified == NOW + 500


def test_the_oldest_comes_first(tmp_path: Path) -> None:
    for age, name in enumerate(("c.zip", "a.zip", "b.zip")):
        put(f"{tmp_path}/in", name)
        os.utime(tmp_path / "in" / name, (NOW - age, NOW - age))
    assert names(f"{tmp_path}/in", f"{tmp_path}/out") == ["b.zip", "a.zip", "c.zip"]


def test_a_relative_inbox_is_told_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(f"{tmp_path}/in", "photos.zip")
    monkeypatch.chdir(tmp_path)
    (arrival,) = new_arrivals("in", "out")
    assert arrival.uri == f"{tmp_path}/in/photos.zip"
    assert batch_output("out", arrival) == f"{tmp_path}/out/{arrival.folder}"


@pytest.mark.parametrize(
    ("arrival", "why"),
    [
        (PHOTOS, None),
        (replace(PHOTOS, modified=NOW - 60), None),
        (replace(PHOTOS, modified=NOW - 59), "it was changed 59 s ago"),
        (replace(PHOTOS, modified=NOW + 30), "it was changed 30 s in the future"),
        (replace(PHOTOS, fingerprint=Fingerprint(0, "1")), "it is empty"),
    ],
)
def test_what_counts_as_growing(arrival: Arrival, why: str | None) -> None:
    assert arrival.growing(NOW, 60) == why


def test_a_clock_that_is_ahead_is_waited_for_even_where_nothing_has_to_settle() -> None:
    ahead = replace(PHOTOS, modified=NOW + 1)
    assert ahead.growing(NOW, 0) is not None
    assert ahead.growing(NOW + 1, 0) is None


def test_folders_have_names_that_every_file_system_takes() -> None:
    def folder(name: str) -> str:
        return replace(PHOTOS, name=name).folder

    assert folder("class 5a/Fotos für Oma.tar.gz").startswith("class-5a-Fotos-für-Oma-")
    assert folder("CON.zip").startswith("CON-")
    assert folder("*?[x].zip").startswith("x-")
    assert len(folder("???.zip")) == 16
    assert len(folder("ü" * 4000 + ".zip").encode()) < 140
    assert folder("a/b.zip") != folder("a-b.zip")
    assert folder("a.zip") != folder("a.tar")


def test_what_makes_a_key_and_a_folder() -> None:
    moved = replace(PHOTOS, uri="s3://b/in/a/photos.zip")
    assert (moved.folder, moved.key == PHOTOS.key) == (PHOTOS.folder, False)
    touched = replace(PHOTOS, modified=NOW)  # an object that was put again as it was
    assert (touched.folder, touched.key) == (PHOTOS.folder, PHOTOS.key)
    # in a database and in folders of earlier versions: never to change
    assert PHOTOS.key == "inbox-997136f3f3c2791afd9e6b14f6bea558"
    assert PHOTOS.folder == "a-photos-680620f24506640b"


@pytest.mark.parametrize(
    "info",
    [
        {"mtime": NOW},
        {"mtime": int(NOW), "created": 5},
        {"last_modified": datetime.fromtimestamp(NOW, UTC)},
        {"LastModified": datetime.fromtimestamp(NOW, UTC).replace(tzinfo=None)},
        {"updated": datetime.fromtimestamp(NOW, UTC).isoformat()},
        {"updated": datetime.fromtimestamp(NOW, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")},
        {"modified": datetime.fromtimestamp(NOW, timezone(timedelta(hours=5))).isoformat()},
    ],
)
def test_times_are_understood_in_every_spelling(info: dict[str, Any]) -> None:
    assert written_at(info) == NOW


def test_a_time_that_is_not_told_is_not_made_up() -> None:
    assert written_at({"size": 1, "LastModified": ""}) is None


def test_links_are_not_followed(tmp_path: Path) -> None:
    put(f"{tmp_path}/elsewhere", "secret.zip")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "link.zip").symlink_to(tmp_path / "elsewhere" / "secret.zip")
    (tmp_path / "in" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "in" / "folder.zip").mkdir()
    assert names(f"{tmp_path}/in", f"{tmp_path}/out") == []


def test_a_name_that_is_no_text_keeps_nobody_else_waiting(tmp_path: Path) -> None:
    put(f"{tmp_path}/in", os.fsdecode(b"caf\xe9.zip"))
    put(f"{tmp_path}/in", "photos.zip")
    odd, photos = sorted(
        new_arrivals(f"{tmp_path}/in", f"{tmp_path}/out"), key=lambda one: one.name
    )
    assert odd.name == "caf\ufffd.zip"
    assert "not found" in str(odd.changed())
    assert photos.changed() is None


def test_an_output_in_the_inbox_would_feed_itself(place: str) -> None:
    put(f"{place}/in", "photos.zip")
    for output in (f"{place}/in", f"{place}/in/out"):
        with pytest.raises(OutputError, match="taken for new archives"):
            new_arrivals(f"{place}/in", output)
    assert names(f"{place}/in", place) == ["photos.zip"]


def test_an_inbox_that_cannot_be_listed(tmp_path: Path) -> None:
    put(str(tmp_path), "photos.zip")
    for inbox, why in (
        (f"{tmp_path}/none", "not found"),
        (f"{tmp_path}/photos.zip", "Not a directory"),
        ("http://127.0.0.1:9/in", "a web server has no folders"),
        ("gopher://x/in", "nothing here speaks gopher"),
    ):
        with pytest.raises(ArchiveError, match=why) as caught:
            new_arrivals(inbox, f"{tmp_path}/out")
        assert inbox in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_folder_that_nobody_may_read(tmp_path: Path) -> None:
    put(f"{tmp_path}/in", "a/photos.zip")
    (tmp_path / "in" / "a").chmod(0)
    if os.access(tmp_path / "in" / "a", os.R_OK):
        pytest.skip("whoever runs this may read everything")
    with pytest.raises(ArchiveError, match="permission denied"):
        new_arrivals(f"{tmp_path}/in", f"{tmp_path}/out")


@pytest.mark.service
def test_buckets_that_cannot_be_listed(s3: S3) -> None:
    put(f"s3://{s3.bucket}/inbox-refused", "photos.zip")
    with pytest.raises(ArchiveError, match=r"cannot list s3://no-such-bucket/in: not found"):
        new_arrivals("s3://no-such-bucket/in", f"s3://{s3.bucket}/out")
    # or every archive would be used up by a batch that cannot write
    with pytest.raises(OutputError, match=r"cannot list s3://no-such-bucket/out: not found"):
        new_arrivals(f"s3://{s3.bucket}/inbox-refused", "s3://no-such-bucket/out")
    # a prefix is nothing of its own: when its last object has been taken away, it is just empty
    assert new_arrivals(f"s3://{s3.bucket}/nothing-yet", f"s3://{s3.bucket}/out") == []

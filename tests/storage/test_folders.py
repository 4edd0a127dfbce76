"""Folders as people have them: closed ones, links, waste baskets and thumbnails."""

import io
import json
import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from storage.archives.members import ChunkSize, Limits
from storage.archives.opening import open_archive
from storage.archives.plan import decode_chunks, encode_chunks
from storage.errors import MemberErrorCode, SkipReason
from tests.storage.archives import LIMITS, read_all

SIZE = ChunkSize(100, 1 << 20)
NOBODY = 65534

SYSTEM = [
    "@eaDir/a.jpg/SYNOPHOTO_THUMB_XL.jpg",
    "#recycle/a.jpg",
    "$RECYCLE.BIN/S-1-5-21/$RABC.jpg",
    ".Trash-1000/files/a.jpg",
    ".Trashes/501/a.jpg",
    ".thumbnails/large/a.png",
    "System Volume Information/a.jpg",
    ".picasaoriginals/a.jpg",
    ".Spotlight-V100/a.jpg",
    "@Recycle/a.jpg",
    ".@__thumb/a.jpg",
    "cat Previews.lrdata/a.jpg",
    ".AppleDouble/a.jpg",
    "RECYCLER/a.jpg",
    "lost+found/a.jpg",
    "My.photoslibrary/resources/derivatives/a.jpg",
]
KEPT = [
    "a.jpg",
    "recycle/a.jpg",
    "Thumbnails/a.jpg",
    "My.photoslibrary/originals/a.jpg",
    "Trash.jpg",
]


def as_zip(path: Path, names: list[str]) -> str:
    with zipfile.ZipFile(path / "a.zip", "w") as archive:
        for name in names:
            archive.writestr(name, b"1")
    return str(path / "a.zip")


def as_tar(path: Path, names: list[str]) -> str:
    with tarfile.open(path / "a.tar.gz", "w:gz") as archive:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = 1
            archive.addfile(info, io.BytesIO(b"1"))
    return str(path / "a.tar.gz")


def as_folder(path: Path, names: list[str]) -> str:
    for name in names:
        file = path / "in" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"1")
    return str(path / "in")


def as_list(path: Path, names: list[str]) -> str:
    as_folder(path, names)
    (path / "in" / "list.txt").write_text("\n".join(f"./{name}" for name in names))
    return str(path / "in" / "list.txt")


@pytest.mark.parametrize("pack", [as_zip, as_tar, as_folder, as_list])
def test_waste_baskets_and_thumbnails_are_skipped_with_a_reason(
    pack: Callable[[Path, list[str]], str], tmp_path: Path
) -> None:
    place = pack(tmp_path, [f"2024/{name}" for name in SYSTEM] + KEPT)
    skipped = {
        e.name.removeprefix("./"): e.skip for e in read_all(open_archive(place, LIMITS), SIZE)
    }
    assert {name for name, why in skipped.items() if why is None} == set(KEPT)
    assert set(skipped.values()) == {None, SkipReason.SYSTEM_FOLDER}
    everything = open_archive(place, Limits(1 << 20, skip_system=False))
    assert all(entry.skip is None for entry in read_all(everything, SIZE))


def test_links_are_followed_where_asked_for_and_loops_end(tmp_path: Path) -> None:
    as_folder(tmp_path, ["a.jpg", "sub/b.jpg"])
    outside = tmp_path / "outside"
    (outside / "deep").mkdir(parents=True)
    (outside / "c.jpg").write_bytes(b"333")
    (outside / "deep" / "d.jpg").write_bytes(b"1")
    folder = tmp_path / "in"
    (folder / "album").symlink_to(outside)
    (folder / "again").symlink_to(outside)
    (folder / "c.jpg").symlink_to(outside / "c.jpg")
    (folder / "loop").symlink_to(folder)
    (outside / "back").symlink_to(folder / "sub")
    (outside / "self").symlink_to(outside)
    (folder / "gone.jpg").symlink_to(tmp_path / "nothing")
    (folder / "round.jpg").symlink_to(folder / "round.jpg")
    archive = open_archive(str(folder), Limits(1 << 20, follow_links=True))
    rows = {e.name: e.skip or (e.error and e.error.code) for e in read_all(archive, SIZE)}
    assert rows == {
        "a.jpg": None,
        "sub/b.jpg": None,
        "c.jpg": None,
        "again/c.jpg": None,
        "again/deep/d.jpg": None,
        "again/back": SkipReason.LINK,
        "again/self": SkipReason.LINK,
        "album": SkipReason.LINK,
        "loop": SkipReason.LINK,
        "gone.jpg": MemberErrorCode.MISSING,
        "round.jpg": MemberErrorCode.UNREADABLE,
    }
    again = open_archive(str(folder), Limits(1 << 20, follow_links=True))
    assert again.fingerprint == archive.fingerprint
    assert all(
        e.skip is SkipReason.LINK
        for e in read_all(open_archive(str(folder), LIMITS), SIZE)
        if "." not in e.name
    )


def test_many_links_to_one_another_end(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    for one in range(12):
        (folder / str(one)).mkdir(parents=True)
        for other in range(12):
            (folder / str(one) / f"to{other}").symlink_to(folder / str(other))
    archive = open_archive(str(folder), Limits(1 << 20, follow_links=True))
    assert archive.members == 144


_AS_ANOTHER = """
import json, os, sys
folder, user = sys.argv[1], int(sys.argv[2])
from storage.archives.members import ChunkSize, Limits
from storage.archives.opening import open_archive
if user:
    os.setgroups([]); os.setgid(user); os.setuid(user)
archive = open_archive(folder, Limits(1 << 20, nested=1))
rows = [e for c in archive.chunks(ChunkSize(100, 1 << 20)) for e in archive.read(c)]
print(json.dumps([[e.name, e.error and [e.error.code, str(e.error)]] for e in rows]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")
def test_what_may_not_be_read_is_a_row_and_not_the_end(tmp_path: Path) -> None:
    as_folder(tmp_path, ["a.jpg", "closed/b.jpg", "listed/c.jpg", "file.jpg", "z/d.jpg", "e.zip"])
    folder = tmp_path / "in"
    for place, mode in [("closed", 0), ("listed", 0o444), ("file.jpg", 0), ("e.zip", 0)]:
        (folder / place).chmod(mode)
    modes = {parent: parent.stat().st_mode for parent in (folder, *folder.parents)}
    closed = [parent for parent, mode in modes.items() if mode & 0o5 != 0o5]
    for parent in closed:  # pytest's own are its user's alone
        parent.chmod(modes[parent] | 0o5)
    user = NOBODY if os.getuid() == 0 else 0  # root may read everything
    try:
        done = subprocess.run(
            [sys.executable, "-c", _AS_ANOTHER, str(folder), str(user)],
            capture_output=True, text=True, check=True, env={**os.environ, "HOME": "/"},
        )  # fmt: skip
    finally:
        for place in ("closed", "listed"):
            (folder / place).chmod(0o755)
        for parent in closed:
            parent.chmod(modes[parent])
    rows = dict(json.loads(done.stdout))
    assert rows["a.jpg"] is None
    assert rows["z/d.jpg"] is None
    assert set(rows) == {"a.jpg", "closed", "e.zip", "file.jpg", "listed/c.jpg", "z/d.jpg"}
    for name in ("closed", "e.zip", "file.jpg", "listed/c.jpg"):
        code, message = rows[name]
        assert code == "unreadable"
        assert f"{folder}/{name}: permission denied" in message


def test_a_row_that_cannot_be_listed_goes_to_another_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = as_folder(tmp_path, ["a.jpg", "sub/b.jpg"])
    scandir = os.scandir

    def refuse(path: str) -> Any:
        if path.rstrip("/").endswith("sub"):
            raise PermissionError(13, "no")
        return scandir(path)

    before = open_archive(place, LIMITS).fingerprint
    monkeypatch.setattr(os, "scandir", refuse)
    archive = open_archive(place, LIMITS)
    assert archive.fingerprint != before  # once it can be read it is another batch
    chunks = decode_chunks(encode_chunks(list(archive.chunks(SIZE))))
    entries = [entry for chunk in chunks for entry in archive.read(chunk)]
    assert [(e.name, e.error and e.error.code) for e in entries] == [
        ("a.jpg", None),
        ("sub", MemberErrorCode.UNREADABLE),
    ]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_lines_of_a_list_as_programs_write_them(end: str, mark: str, tmp_path: Path) -> None:
    names = ["a b.jpg", "c.jpg", "it's.jpg", "ü 100%.jpg", '"', "d.jpg"]
    as_folder(tmp_path, names)
    folder = tmp_path / "in"
    lines = [
        '"a b.jpg"', "'c.jpg'", "it's.jpg", f"file://{folder}/%C3%BC%20100%25.jpg", '"', "# no",
        f'  "{folder}/d.jpg"  ',
    ]  # fmt: skip
    (folder / "list.txt").write_bytes((mark + end.join(lines)).encode())
    entries = read_all(open_archive(str(folder / "list.txt"), LIMITS), SIZE)
    assert [entry.data for entry in entries] == [b"1"] * 6

"""Archives in archives, read as one."""

import bz2
import gzip
import io
import lzma
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import fsspec
import pytest
import zstandard

from storage.archives import ranges
from storage.archives.members import Archive, ChunkSize, Entry, Limits
from storage.archives.nested import NestedArchive
from storage.archives.opening import open_archive
from storage.archives.plan import decode_chunks, encode_chunks
from storage.errors import ArchiveError, MemberErrorCode, MemberWarning, SkipReason, TransientError
from storage.fs.location import RangeReader
from storage.output.names import crop_stem
from tests.services import S3
from tests.storage.archives import names_and_data, read_all

Files = dict[str, bytes]

MIB = 1 << 20
LIMITS = Limits(MIB, nested=1)
CLASS = {"anna.jpg": b"a" * 700, "ben.jpg": b"b" * 3000, "sub/anna.jpg": b"c"}
SIZES = [ChunkSize(1, 1), ChunkSize(2, MIB), ChunkSize(100, 1 << 28)]


def zipped(files: Files, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name), data, method)
    return out.getvalue()


def stored(files: Files) -> bytes:
    return zipped(files, zipfile.ZIP_STORED)


def tarred(files: Files) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def gzipped(files: Files) -> bytes:
    return gzip.compress(tarred(files), mtime=0)


def in_zstd(files: Files) -> bytes:
    return zstandard.compress(tarred(files))


def in_bzip2(files: Files) -> bytes:
    return bz2.compress(tarred(files))


def in_xz(files: Files) -> bytes:
    return lzma.compress(tarred(files))


PACKERS: dict[str, Callable[[Files], bytes]] = {
    "zip": zipped,
    "tar": tarred,
    "tar.gz": gzipped,
    "tar.zst": in_zstd,
}
INNER: dict[str, Callable[[Files], bytes]] = {
    **PACKERS,
    "tar.bz2": in_bzip2,
    "txz": in_xz,
    "bzip2.zip": partial(zipped, method=zipfile.ZIP_BZIP2),
}
OUTER: dict[str, Callable[[Files], bytes]] = {
    "stored.zip": stored,
    **{f"outer.{kind}": pack for kind, pack in PACKERS.items()},
}


def write(folder: Path, name: str, files: Files) -> str:
    """The files as an archive, a folder or a list of that name."""
    place = folder / name
    if name in OUTER:
        place.write_bytes(OUTER[name](files))
        return str(place)
    for path, data in files.items():
        file = folder / "files" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    if name == "folder":
        return str(folder / "files")
    place.write_text("\n".join(f"files/{path}" for path in files))
    return str(place)


def content(archive: Archive) -> dict[str, bytes | None]:
    found = names_and_data(read_all(archive, SIZES[1]))
    return {name.removeprefix("files/"): data for name, data in found}


@pytest.mark.parametrize("outer", [*OUTER, "folder", "list.txt"])
@pytest.mark.parametrize("inner", INNER)
def test_an_archive_s_members_take_its_place(outer: str, inner: str, tmp_path: Path) -> None:
    name = f"3a.{inner}"
    files = {"0.jpg": b"first", name: INNER[inner](CLASS), "z.jpg": b"last"}
    archive = open_archive(write(tmp_path, outer, files), LIMITS)
    below = {f"{name}/{path}": data for path, data in CLASS.items()}
    assert content(archive) == {"0.jpg": b"first", **below, "z.jpg": b"last"}
    if archive.members is not None:
        assert archive.members == 5


@pytest.mark.parametrize("outer", ["outer.zip", "stored.zip", "outer.tar", "folder"])
@pytest.mark.parametrize("size", SIZES)
def test_its_chunks_are_read_on_another_machine(
    outer: str, size: ChunkSize, tmp_path: Path
) -> None:
    deep = zipped({"in.tar.gz": gzipped(CLASS), "k.jpg": b"k"})
    files = {"3a.zip": zipped(CLASS), "3b.zip": stored(CLASS), "deep.zip": deep}
    limits = Limits(MIB, nested=2)
    place = write(tmp_path, outer, files)
    here = open_archive(place, limits)
    there = open_archive(place, limits, here.fingerprint)
    chunks = decode_chunks(encode_chunks(list(here.chunks(size))))
    # in any order, and as often as somebody likes
    found = {e.index: e for chunk in [*chunks[::-1], *chunks] for e in there.read(chunk)}
    expected = read_all(here, size)
    assert [found[index] for index in range(len(expected))] == expected
    assert expected[-2].name == "deep.zip/in.tar.gz/sub/anna.jpg"
    assert len(expected) == here.members == 10


@pytest.mark.parametrize("outer", [*OUTER, "folder"])
def test_levels_that_are_not_opened_are_skipped(outer: str, tmp_path: Path) -> None:
    files = {"a.zip": zipped({"b.zip": zipped({"c.jpg": b"c"})})}
    place = write(tmp_path, outer, files)
    rows = {
        depth: [(e.name, e.skip) for e in read_all(open_archive(place, limits), SIZES[2])]
        for depth in (0, 1, 2, 3)
        for limits in [Limits(MIB, nested=depth)]
    }
    assert rows[0] == [("a.zip", SkipReason.NESTED_ARCHIVE)]
    assert rows[1] == [("a.zip/b.zip", SkipReason.NESTED_ARCHIVE)]
    assert rows[2] == rows[3] == [("a.zip/b.zip/c.jpg", None)]


def cut_short(files: Files) -> bytes:
    return zipped(files)[:-30]


def damaged(files: Files) -> bytes:
    data = bytearray(zipped(files))
    data[-40] ^= 0xFF  # in the directory
    return bytes(data)


@pytest.mark.parametrize("outer", [*OUTER, "folder"])
@pytest.mark.parametrize(
    ("name", "data", "code"),
    [
        ("cut.zip", cut_short(CLASS), MemberErrorCode.CORRUPT_ENTRY),
        ("cut.tar", tarred(CLASS)[:300], MemberErrorCode.CORRUPT_ENTRY),
        ("cut.tar.gz", gzipped(CLASS)[:60], MemberErrorCode.CORRUPT_ENTRY),
        ("page.zip", b"<!DOCTYPE html> please log in", MemberErrorCode.CORRUPT_ENTRY),
        ("photo.tgz", gzip.compress(b"no tar", mtime=0), MemberErrorCode.CORRUPT_ENTRY),
        ("many.zip", zipped({f"{n}.jpg": b"" for n in range(30)}), MemberErrorCode.TOO_LARGE),
        ("bomb.tar.gz", gzipped({"0": bytes(30 * MIB)}), MemberErrorCode.TOO_LARGE),
        ("none.zip", zipped({}), SkipReason.EMPTY_ARCHIVE),
        ("none.tar", bytes(10240), SkipReason.EMPTY_ARCHIVE),
        ("nothing.zip", b"", SkipReason.EMPTY_ARCHIVE),
    ],
)
def test_one_that_cannot_be_read_is_a_row_and_not_the_end(
    outer: str, name: str, data: bytes, code: MemberErrorCode | SkipReason, tmp_path: Path
) -> None:
    files = {"3a.zip": zipped(CLASS), name: data, "z.jpg": b"z"}
    limits = Limits(MIB, members=20, nested=1)
    entries = read_all(open_archive(write(tmp_path, outer, files), limits), SIZES[2])
    [row] = [entry for entry in entries if entry.name == name]
    assert row.data is None
    assert code == (row.skip or (row.error and row.error.code))
    assert sum(entry.data is not None for entry in entries) == 4


@pytest.mark.parametrize("outer", [*OUTER, "folder"])
@pytest.mark.parametrize("cut", [1100, 2700, 5632])  # within a member, and where one ends
@pytest.mark.parametrize("kind", ["tar", "tar.gz", "tar.bz2"])
def test_what_is_whole_of_a_damaged_one_is_read(
    outer: str, cut: int, kind: str, tmp_path: Path
) -> None:
    files = {f"{n}.jpg": bytes([n]) * 400 for n in range(8)}  # 1024 bytes each
    data = tarred(files)[:cut]
    if kind == "tar.gz":
        data = gzip.compress(data, mtime=0)[:-8]
    elif kind == "tar.bz2":
        data = bz2.compress(data) + b"more"
    name = f"3a.{kind}"
    place = write(tmp_path, outer, {name: data, "last.jpg": b"z"})
    archive = open_archive(place, LIMITS)
    entries = read_all(archive, SIZES[1])
    assert entries[0].data == files["0.jpg"]
    damaged = [entry for entry in entries if entry.error is not None]
    if (kind, cut) != ("tar", 5632):  # a TAR without its end is whole
        assert [e.error and e.error.code for e in damaged] == [MemberErrorCode.ARCHIVE_DAMAGED]
        assert damaged[0].name.startswith(f"{name}/")
        assert any(line.startswith(f"{name}: ") for line in archive.notes)
    assert sum(entry.data is not None for entry in entries) == 1 + cut // 1024
    assert entries[-1].data == b"z"


@pytest.mark.parametrize("outer", ["outer.tar", "outer.tar.gz"])
def test_damage_behind_an_archive_is_told_of_the_right_member(outer: str, tmp_path: Path) -> None:
    files = {"3a.zip": zipped(CLASS), "m.jpg": b"m", "n.jpg": b"n" * 600}
    data = tarred(files)
    (tmp_path / outer).write_bytes(
        data[: data.rindex(b"n" * 600) + 100]
        if outer == "outer.tar"
        else gzip.compress(data[: data.rindex(b"n" * 600) + 100], mtime=0)
    )
    for size in SIZES:
        entries = read_all(open_archive(str(tmp_path / outer), LIMITS), size)
        assert [entry.index for entry in entries] == list(range(5))
        assert [entry.error and entry.error.code for entry in entries] == [
            *[None] * 4,
            MemberErrorCode.ARCHIVE_DAMAGED,
        ]


def test_each_one_s_names_are_guessed_by_themselves(tmp_path: Path) -> None:
    names = ["運動会", "卒業式", "修学旅行", "文化祭", "入学式"]
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for n in range(len(names)):
            archive.writestr(f"{n}" * 20, b"1")
    data = out.getvalue()
    for n, name in enumerate(names):
        raw = name.encode("cp932") + b".jpg"
        data = data.replace(f"{n}".encode() * 20, raw.rjust(20, b"a"))
    place = write(tmp_path, "outer.zip", {"3a.zip": data})
    found = [entry.name for entry in read_all(open_archive(place, LIMITS), SIZES[2])]
    for name, path in zip(names, found, strict=True):
        assert path.endswith(f"{name}.jpg")
    chosen = Limits(MIB, nested=1, names="latin-1")
    entries = read_all(open_archive(place, chosen), SIZES[2])
    assert not any(name in entries[0].name for name in names)


def test_a_bomb_two_levels_down_is_refused_as_one(tmp_path: Path) -> None:
    bombs = {f"{n}.zip": zipped({"0.tar": tarred({"0": bytes(9 * MIB)})}) for n in range(4)}
    place = write(tmp_path, "outer.zip", {"in.zip": zipped(bombs)})
    limits = Limits(16 * MIB, nested=3)
    entries = read_all(open_archive(place, limits), SIZES[2])
    codes = [entry.error and entry.error.code for entry in entries]
    # all that is copied of what one member holds is bounded together: by 16 MiB and 100 its size
    assert codes.count(MemberErrorCode.TOO_LARGE) == 3
    assert len(codes) == 4


def test_members_of_all_archives_together_are_bounded(tmp_path: Path) -> None:
    files = {f"{n}.zip": zipped({f"{m}.jpg": b"" for m in range(10)}) for n in range(5)}
    for outer in ("outer.zip", "outer.tar.gz"):
        archive = open_archive(write(tmp_path, outer, files), Limits(MIB, members=25, nested=1))
        entries = read_all(archive, SIZES[2])
        assert len(entries) <= 25
        refused = [e.name for e in entries if e.error and e.error.code == "too_large"]
        assert refused == ["2.zip", "3.zip", "4.zip"]


def test_an_encrypted_one_is_a_row(tmp_path: Path) -> None:
    data = bytearray(zipped({"3a.zip": zipped(CLASS), "z.jpg": b"z"}))
    for at in (6, data.index(b"PK\1\2") + 8):  # the flags, in the header and in the directory
        data[at] |= 1
    (tmp_path / "a.zip").write_bytes(data)
    entries = read_all(open_archive(str(tmp_path / "a.zip"), LIMITS), SIZES[2])
    assert [(e.name, e.error and e.error.code) for e in entries] == [
        ("3a.zip", MemberErrorCode.ENCRYPTED),
        ("z.jpg", None),
    ]


@pytest.mark.parametrize("damage", [-60, 45])
def test_a_deflated_one_is_checked_whole(damage: int, tmp_path: Path) -> None:
    inner = stored({"a.jpg": bytes(range(256)) * 40})
    data = bytearray(zipped({"3a.zip": inner}))
    data[damage if damage > 0 else data.index(b"PK\1\2") + 16] ^= 0x55  # its data, its checksum
    (tmp_path / "a.zip").write_bytes(data)
    [row] = read_all(open_archive(str(tmp_path / "a.zip"), LIMITS), SIZES[2])
    assert (row.name, row.error is not None) == ("3a.zip", True)


@pytest.mark.parametrize("name", ["doc.docx", "book.epub", "app.apk", "lib.jar", "old.7z"])
def test_what_is_no_archive_of_photographs_is_left_alone(name: str, tmp_path: Path) -> None:
    archive = open_archive(write(tmp_path, "outer.zip", {name: zipped(CLASS)}), LIMITS)
    [row] = read_all(archive, SIZES[2])
    assert row.name == name


@pytest.mark.parametrize("outer", OUTER)
def test_no_two_crops_have_one_name(outer: str, tmp_path: Path) -> None:
    files = {
        "3a.zip": zipped({"a.jpg": b"1", "b.zip/a.jpg": b"2", "b.zip": zipped({"a.jpg": b"3"})}),
        "3A.zip": zipped({"a.jpg": b"4", "A.JPG": b"5"}),
        "3a.zip/a.jpg": b"6",
        "3A.ZIP\\a.jpg": b"7",
        "3a.zip/b.zip/a.jpg": b"8",
        "3a.tar/b.zip/a.jpg": b"9",
        "3a.tar": tarred({"b.zip": zipped({"a.jpg": b"10"})}),
    }
    archive = open_archive(write(tmp_path, outer, files), Limits(MIB, nested=2))
    stems = [
        crop_stem(entry.name, entry.index, entry.index in chunk.duplicates).casefold()
        for chunk in archive.chunks(SIZES[1])
        for entry in archive.read(chunk)
    ]
    assert len(stems) == len(set(stems)) == 10


def test_one_with_a_name_that_leads_elsewhere_is_told(tmp_path: Path) -> None:
    archive = open_archive(write(tmp_path, "outer.zip", {"../3a.zip": zipped(CLASS)}), LIMITS)
    for entry in read_all(archive, SIZES[2]):
        assert entry.warnings == (MemberWarning.NAME_CHANGED,)
        assert ".." not in crop_stem(entry.name, entry.index, duplicate=False).split("/")


def test_a_copy_is_gone_however_many_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    monkeypatch.setattr(ranges, "_OPEN", 2)
    (tmp_path / "tmp").mkdir()
    files = {f"{n:02}.zip": zipped(CLASS) for n in range(12)}
    archive = open_archive(write(tmp_path, "outer.zip", files), LIMITS)
    opened = []
    entries: list[Entry] = []
    for chunk in archive.chunks(SIZES[2]):
        entries += archive.read(chunk)
        opened.append(len(_temporary_files(tmp_path)))
        assert list((tmp_path / "tmp").iterdir()) == []  # nothing to be left behind by a kill
    assert len(entries) == 36
    assert max(opened) <= 3
    del archive, chunk
    assert _temporary_files(tmp_path) == []


def _temporary_files(folder: Path) -> list[str]:
    links = (link.readlink() for link in Path("/proc/self/fd").iterdir() if link.is_symlink())
    return [str(link) for link in links if link.is_relative_to(folder / "tmp")]


def test_one_that_lies_as_it_is_is_not_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a copy was made")

    monkeypatch.setattr(ranges.Copies, "get", refuse)
    for outer in ("stored.zip", "outer.tar", "outer.tar.gz", "folder"):
        files = {"3a.zip": zipped(CLASS), "3b.tar": tarred(CLASS)}
        assert len(content(open_archive(write(tmp_path, outer, files), LIMITS))) == 6


@pytest.mark.service
def test_an_archive_on_s3_is_read_by_range(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {"0.jpg": b"0", "3a.zip": zipped(CLASS), "3b.tar.gz": gzipped(CLASS), "bad.zip": b"PK"}
    store = fsspec.filesystem("s3", use_listings_cache=False)
    for kind, pack in OUTER.items():
        store.pipe_file(f"{s3.bucket}/nested-{kind}", pack(files))
    store.pipe({f"{s3.bucket}/nested/{name}": data for name, data in files.items()})
    for kind in [*(f"-{name}" for name in OUTER), "/"]:
        archive = open_archive(f"s3://{s3.bucket}/nested{kind}", LIMITS)
        entries = read_all(archive, SIZES[1])
        assert [entry.data is not None for entry in entries] == [True] * 7 + [False]
        assert entries[7].name == "bad.zip"


def test_storage_that_fails_is_told_of_each_member_on_the_last_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {"3a.zip": zipped(CLASS), "3b.zip": zipped(CLASS)}
    archive = open_archive(write(tmp_path, "folder", files), LIMITS)
    chunks = list(archive.chunks(SIZES[2]))
    read: Callable[[RangeReader, int, int], bytes] = RangeReader.read

    def fails(self: RangeReader, start: int, end: int) -> bytes:
        if self.uri.endswith("3a.zip"):
            raise TransientError("no answer")
        return read(self, start, end)

    monkeypatch.setattr(RangeReader, "read", fails)
    with pytest.raises(TransientError):
        list(archive.read(chunks[0]))
    rows = [entry for chunk in chunks for entry in archive.read(chunk, last_try=True)]
    codes = [entry.error and entry.error.code for entry in rows]
    assert codes == [MemberErrorCode.UNREADABLE] * 3 + [None] * 3
    assert [entry.index for entry in rows] == list(range(6))


def test_an_archive_within_is_planned_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = open_archive(write(tmp_path, "outer.zip", {"a.zip": zipped(CLASS)}), LIMITS)
    assert isinstance(archive, NestedArchive)
    assert archive.members == 3
    monkeypatch.setattr(NestedArchive, "_open", None)
    assert len(list(archive.chunks(SIZES[0]))) == 3


def test_a_folder_that_has_only_lost_its_archive_says_so(tmp_path: Path) -> None:
    place = write(tmp_path, "folder", {"a.zip": zipped(CLASS), "b.jpg": b"b"})
    archive = open_archive(place, LIMITS)
    chunks = list(archive.chunks(SIZES[2]))
    (tmp_path / "files" / "a.zip").unlink()
    rows = [entry for chunk in chunks for entry in archive.read(chunk)]
    assert [e.error and e.error.code for e in rows] == [MemberErrorCode.MISSING] * 3 + [None]
    with pytest.raises(ArchiveError):
        list(open_archive(place, LIMITS, archive.fingerprint).chunks(SIZES[2]))

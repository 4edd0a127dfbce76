import os
from pathlib import Path

import fsspec
import pytest

from storage.archives.members import ChunkSize, Limits
from storage.archives.opening import open_archive
from storage.errors import ArchiveError, MemberErrorCode, SkipReason, TransientError
from storage.output.names import crop_stem, looks_like_image
from tests.services import S3, QuietHandler, web_server
from tests.storage.archives import LIMITS, codes, names_and_data, read_all

SIZE = ChunkSize(3, 1 << 20)


def fill(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


FILES = {f"class-{i % 3}/{i:02}.jpg": bytes([i]) * i for i in range(20)}
SORTED = sorted(FILES.items())


def test_a_local_folder(tmp_path: Path) -> None:
    fill(tmp_path, FILES)
    for uri in (str(tmp_path), f"{tmp_path}/", f"file://{tmp_path}"):
        archive = open_archive(uri, LIMITS)
        assert archive.kind == "folder"
        assert archive.members == 20
        assert archive.fingerprint.size == sum(range(20))
        assert names_and_data(read_all(archive, SIZE)) == SORTED


def test_a_folder_in_memory() -> None:
    files = fsspec.filesystem("memory")
    files.pipe({f"/listing/{name}": data for name, data in FILES.items()})
    archive = open_archive("memory://listing/", LIMITS)
    assert names_and_data(read_all(archive, SIZE)) == SORTED
    files.pipe_file("/listing/class-0/00.jpg", b"other")
    assert open_archive("memory://listing", LIMITS).fingerprint != archive.fingerprint


@pytest.mark.service
def test_a_prefix_on_s3(s3: S3) -> None:
    files = fsspec.filesystem("s3", use_listings_cache=False)
    files.pipe({f"{s3.bucket}/listing/{name}": data for name, data in FILES.items()})
    files.pipe_file(f"{s3.bucket}/listing-other/no.jpg", b"not mine")
    for uri in (f"s3://{s3.bucket}/listing", f"s3://{s3.bucket}/listing/"):
        archive = open_archive(uri, LIMITS)
        assert names_and_data(read_all(archive, SIZE)) == SORTED
    chunks = list(archive.chunks(ChunkSize(20, 1 << 20)))
    files.rm(f"{s3.bucket}/listing/class-1/01.jpg")
    files.pipe_file(f"{s3.bucket}/listing/class-1/04.jpg", b"longer than before")
    entries = list(archive.read(chunks[0]))
    found = {entry.name: code for entry, code in zip(entries, codes(entries), strict=True) if code}
    assert found == {
        "class-1/01.jpg": MemberErrorCode.MISSING,
        "class-1/04.jpg": MemberErrorCode.SIZE_MISMATCH,
    }
    with pytest.raises(ArchiveError, match="no files"):
        open_archive(f"s3://{s3.bucket}/nothing-here/", LIMITS)


def test_links_are_not_followed_and_junk_is_skipped(tmp_path: Path) -> None:
    outside = fill(tmp_path / "outside", {"secret.jpg": b"secret"})
    folder = fill(tmp_path / "in", {"a.jpg": b"1", ".DS_Store": b"2", "__MACOSX/._a.jpg": b"3"})
    (folder / "link.jpg").symlink_to(outside / "secret.jpg")
    (folder / "linked").symlink_to(outside)
    (folder / "loop").symlink_to(folder)
    os.mkfifo(folder / "pipe")
    entries = read_all(open_archive(str(folder), LIMITS), SIZE)
    assert [(entry.name, entry.skip) for entry in entries] == [
        (".DS_Store", SkipReason.SYSTEM_FILE),
        ("__MACOSX/._a.jpg", SkipReason.SYSTEM_FILE),
        ("a.jpg", None),
        ("link.jpg", SkipReason.LINK),
        ("linked", SkipReason.LINK),
        ("loop", SkipReason.LINK),
        ("pipe", SkipReason.SPECIAL_FILE),
    ]


def test_what_happened_to_files_since_they_were_listed(tmp_path: Path) -> None:
    fill(tmp_path, {"a.jpg": b"1", "b.jpg": b"2", "c.jpg": b"3", "d.jpg": b"", "e.jpg": b"123456"})
    archive = open_archive(str(tmp_path), Limits(5))
    (chunk,) = archive.chunks(ChunkSize(10, 1 << 20))
    (tmp_path / "a.jpg").unlink()
    (tmp_path / "b.jpg").write_bytes(b"longer")
    (tmp_path / "c.jpg").unlink()
    (tmp_path / "c.jpg").mkdir()
    entries = list(archive.read(chunk))
    assert codes(entries) == [
        MemberErrorCode.MISSING,
        MemberErrorCode.SIZE_MISMATCH,
        MemberErrorCode.UNREADABLE,
        None,
        MemberErrorCode.TOO_LARGE,
    ]
    assert entries[3].data == b""


def test_chunks_are_bounded_by_bytes_and_know_duplicates(tmp_path: Path) -> None:
    fill(tmp_path, {name: bytes(100) for name in ("A.jpg", "B.jpg", "a.jpg", "b.JPG", "c.jpg")})
    chunks = list(open_archive(str(tmp_path), LIMITS).chunks(ChunkSize(10, 250)))
    assert [(chunk.first, chunk.count) for chunk in chunks] == [(0, 2), (2, 2), (4, 1)]
    assert [chunk.duplicates for chunk in chunks] == [set(), {2, 3}, set()]


def test_a_chunk_is_read_without_listing_and_a_change_is_noticed_by_listing(tmp_path: Path) -> None:
    fill(tmp_path, FILES)
    first = open_archive(str(tmp_path), LIMITS)
    chunk = list(first.chunks(SIZE))[1]
    (tmp_path / "new.jpg").write_bytes(b"new")
    again = open_archive(str(tmp_path), LIMITS, first.fingerprint)
    assert names_and_data(list(again.read(chunk))) == SORTED[3:6]
    with pytest.raises(ArchiveError, match="changed"):
        list(again.chunks(SIZE))


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9.jpg")).write_bytes(b"1")
    (entry,) = read_all(open_archive(str(tmp_path), LIMITS), SIZE)
    assert (entry.name, entry.data) == ("caf\ufffd.jpg", b"1")


def test_folders_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ArchiveError, match="no files"):
        open_archive(str(tmp_path / "empty"), LIMITS)
    with pytest.raises(ArchiveError, match="not found"):
        open_archive(f"{tmp_path}/none/", LIMITS)
    with pytest.raises(ArchiveError, match="web server has no folders"):
        open_archive("http://127.0.0.1:9/photos/", LIMITS)


def test_a_list_in_a_file(tmp_path: Path) -> None:
    fill(
        tmp_path,
        {"one.jpg": b"1", "d/two.jpg": b"2", "web/three.jpg": b"3", "web/big.jpg": bytes(99)},
    )
    with web_server(tmp_path / "web", QuietHandler) as address:
        lines = [
            "# my photos",
            "",
            "one.jpg",
            "  d/two.jpg  ",
            f"{address}/three.jpg",
            f"{tmp_path}/one.jpg",
            f"file://{tmp_path}/one.jpg",
            "gone.jpg",
            f"{address}/gone.jpg",
            f"{address}/big.jpg",
            "gopher://host/a.jpg",
        ]
        path = tmp_path / "photos.txt"
        path.write_text("\ufeff" + "\r\n".join(lines), encoding="utf-8")
        archive = open_archive(str(path), Limits(50))
        entries = read_all(archive, SIZE)
    assert archive.members == 9
    assert [entry.name for entry in entries] == [line.strip() for line in lines[2:]]
    assert [entry.data for entry in entries[:5]] == [b"1", b"2", b"3", b"1", b"1"]
    assert codes(entries[5:]) == [
        MemberErrorCode.MISSING,
        MemberErrorCode.MISSING,
        MemberErrorCode.TOO_LARGE,
        MemberErrorCode.UNREADABLE,
    ]
    assert "gopher" in str(entries[8].error)


@pytest.mark.service
def test_a_list_on_s3_with_relative_lines(s3: S3) -> None:
    files = fsspec.filesystem("s3", use_listings_cache=False)
    files.pipe({f"{s3.bucket}/l/a.jpg": b"1", f"{s3.bucket}/l/photos.list": b"a.jpg\nnone.jpg\n"})
    entries = read_all(open_archive(f"s3://{s3.bucket}/l/photos.list", LIMITS), SIZE)
    assert entries[0].data == b"1"
    assert codes(entries) == [None, MemberErrorCode.MISSING]


def test_a_list_of_strings(tmp_path: Path) -> None:
    fill(tmp_path, FILES)
    uris = [f"{tmp_path}/{name}" for name in FILES]
    archive = open_archive(uris, LIMITS)
    assert [entry.data for entry in read_all(archive, SIZE)] == list(FILES.values())
    (chunk, *_) = archive.chunks(SIZE)
    assert len(list(open_archive(uris, LIMITS, archive.fingerprint).read(chunk))) == 3
    with pytest.raises(ArchiveError, match="changed"):
        open_archive(uris[1:], LIMITS, archive.fingerprint)


def test_a_server_in_trouble_is_worth_another_try(tmp_path: Path) -> None:
    with web_server(tmp_path) as address:
        archive = open_archive([f"{address}/error-503", f"{address}/error-403"], LIMITS)
        first, second = archive.chunks(ChunkSize(1, 1))
        with pytest.raises(TransientError, match="503"):
            list(archive.read(first))
        assert codes(list(archive.read(second))) == [MemberErrorCode.UNREADABLE]


@pytest.mark.parametrize(
    ("data", "words"),
    [(b"# nothing\n\n", "names no images"), (b"a.jpg\nb\xff.jpg", "UTF-8")],
)
def test_lists_that_cannot_be_used(tmp_path: Path, data: bytes, words: str) -> None:
    (tmp_path / "a.txt").write_bytes(data)
    with pytest.raises(ArchiveError, match=words):
        open_archive(str(tmp_path / "a.txt"), LIMITS)


def test_no_line_s_secret_becomes_a_name(tmp_path: Path) -> None:
    fill(tmp_path / "web", {"a.jpg": b"1", "a b.jpg": b"2"})
    fill(tmp_path, {"what?.jpg": b"3", "me@home:1#2.jpg": b"4"})
    with web_server(tmp_path / "web", QuietHandler) as address:
        host = address.removeprefix("http://")
        lines = [
            f"{address}/a.jpg?X-Amz-Signature=hush",
            f"{address}/a.jpg?X-Amz-Signature=hush2",
            f"{address}/a b.jpg?sig=hu sh",
            f"http://me:hush@{host}/a.jpg#hush",
            f"http://hush@{host}/gone.jpg?hush",
            "what?.jpg",
            "me@home:1#2.jpg",
            "nothing-speaks-this://me:hush@host/a.jpg?hush",
            "http://me:hush@host:port/a.jpg",
        ]
        (tmp_path / "list.txt").write_text("\n".join(lines))
        archive = open_archive(str(tmp_path / "list.txt"), Limits(50))
        (chunk,) = archive.chunks(ChunkSize(20, 1 << 20))
        entries = list(archive.read(chunk))
    assert [entry.data for entry in entries] == [
        *(b"1", b"1", b"2", b"1", None, b"3", b"4", None, None)
    ]
    assert [entry.name for entry in entries] == [
        f"{address}/a.jpg?***",
        f"{address}/a.jpg?***",
        f"{address}/a b.jpg?***",
        f"http://***@{host}/a.jpg#***",
        f"http://***@{host}/gone.jpg?***",
        "what?.jpg",
        "me@home:1#2.jpg",
        "nothing-speaks-this://***@host/a.jpg?***",
        "http://***@host:port/a.jpg",
    ]
    assert not [entry for entry in entries if "hu" in f"{entry.name} {entry.error}"]
    assert chunk.duplicates == {1}
    stems = [crop_stem(one.name, one.index, one.index in chunk.duplicates) for one in entries]
    assert len(set(stems)) == len(stems)
    assert all(map(looks_like_image, (entry.name for entry in entries)))


def test_a_relative_line_of_a_list_on_the_web_has_a_query_to_hide(tmp_path: Path) -> None:
    fill(tmp_path, {"a.jpg": b"1", "list.txt": b"a.jpg?sig=hush\n"})
    with web_server(tmp_path) as address:
        archive = open_archive(f"{address}/list.txt?sig=a/hush", Limits(50))
        (entry,) = read_all(archive, SIZE)
    assert (entry.name, entry.data) == ("a.jpg?***", b"1")


@pytest.mark.parametrize("name", ["what?.jpg", "a#b.jpg", "me:you@home.jpg", "http:a@b?c.jpg"])
def test_a_file_s_own_name_has_no_secret(name: str, tmp_path: Path) -> None:
    fill(tmp_path, {name: b"1"})
    (entry,) = read_all(open_archive(str(tmp_path), LIMITS), SIZE)
    assert (entry.name, entry.data) == (name, b"1")

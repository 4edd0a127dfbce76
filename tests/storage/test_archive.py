import gzip
import io
import tarfile
import zipfile
from pathlib import Path

import fsspec
import pytest
import zstandard

from storage.archives.members import ChunkSize
from storage.archives.opening import open_archive
from storage.errors import ArchiveError
from tests.services import S3, web_server
from tests.storage.archives import LIMITS, names_and_data, read_all

PHOTOS: list[tuple[str, bytes | None]] = [(f"d/{i}.jpg", bytes([i]) * 700) for i in range(7)]


def make_zip() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in PHOTOS:
            archive.writestr(name, data or b"")
    return out.getvalue()


def make_tar() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in PHOTOS:
            item = tarfile.TarInfo(name)
            item.size = len(data or b"")
            archive.addfile(item, io.BytesIO(data or b""))
    return out.getvalue()


KINDS = {
    "zip": make_zip(),
    "tar": make_tar(),
    "tar.gz": gzip.compress(make_tar()),
    "tar.zst": zstandard.compress(make_tar()),
}
every_kind = pytest.mark.parametrize("kind", KINDS)


@every_kind
def test_content_decides_not_the_extension(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "photos.dat"
    path.write_bytes(KINDS[kind])
    archive = open_archive(str(path), LIMITS)
    assert archive.kind == kind
    assert archive.members == (None if kind in ("tar.gz", "tar.zst") else 7)
    assert archive.piecemeal == (kind == "zip")
    assert names_and_data(read_all(archive, ChunkSize(3, 2000))) == PHOTOS


@every_kind
def test_over_http(tmp_path: Path, kind: str) -> None:
    (tmp_path / "photos").write_bytes(KINDS[kind])
    with web_server(tmp_path) as address:
        archive = open_archive(f"{address}/photos?token=1", LIMITS)
        assert names_and_data(read_all(archive, ChunkSize(3, 2000))) == PHOTOS


@every_kind
@pytest.mark.service
def test_over_s3(s3: S3, kind: str) -> None:
    uri = f"s3://{s3.bucket}/archive/photos.{kind}"
    files = fsspec.filesystem("s3", use_listings_cache=False)
    files.pipe_file(uri, KINDS[kind])
    archive = open_archive(uri, LIMITS)
    chunks = list(archive.chunks(ChunkSize(3, 2000)))
    elsewhere = open_archive(uri, LIMITS, archive.fingerprint)
    found = [entry for chunk in chunks for entry in elsewhere.read(chunk)]
    assert names_and_data(found) == PHOTOS
    files.pipe_file(uri, KINDS[kind] + b" ")
    with pytest.raises(ArchiveError, match="changed"):
        open_archive(uri, LIMITS, archive.fingerprint)


@every_kind
def test_in_memory(kind: str) -> None:
    fsspec.filesystem("memory").pipe_file(f"/archive/{kind}", KINDS[kind])
    archive = open_archive(f"memory://archive/{kind}", LIMITS)
    assert names_and_data(read_all(archive, ChunkSize(3, 2000))) == PHOTOS


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_change_between_opening_and_reading(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "photos"
    path.write_bytes(KINDS[kind])
    archive = open_archive(str(path), LIMITS)
    (chunk,) = archive.chunks(ChunkSize(10, 1 << 20))
    path.write_bytes(KINDS[kind] + bytes(512))
    with pytest.raises(ArchiveError, match="changed"):
        list(archive.read(chunk))
    with pytest.raises(ArchiveError, match="changed"):
        open_archive(str(path), LIMITS, archive.fingerprint)


def test_a_tar_from_before_ustar(tmp_path: Path) -> None:
    block = bytearray(make_tar()[:1536])
    block[257:265] = bytes(8)
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block[:512])
    (tmp_path / "old").write_bytes(block)
    assert open_archive(str(tmp_path / "old"), LIMITS).kind == "tar"


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.zip", b"", "empty"),
        ("a.zip", b"Rar!\x1a\x07\0 and so on", "is a RAR archive, .* unpack it"),
        ("a.tar", b"Rar!\x1a\x07\1\0 and so on", "is a RAR archive"),
        ("a.7z", b"7z\xbc\xaf\x27\x1c" + bytes(99), "is a 7z archive"),
        ("a.tar.Z", b"\x1f\x9d\x90" + bytes(99), r"compressed by compress \(\.Z\)"),
        ("a.cab", b"MSCF\0\0\0\0" + bytes(99), "is a Windows cabinet"),
        ("a.iso", bytes(0x8001) + b"CD001" + bytes(99), "is the image of a disc"),
        ("a.dmg", bytes(99) + b"koly" + bytes(508), "is a disk image of macOS"),
        ("a.lzh", b"\x21\x2b-lh5-" + bytes(99), "is an LHA archive"),
        ("a.z01", b"PK\7\x08PK\3\4" + bytes(99), "one part of a split ZIP; join"),
        ("a.lz4", b"\x02!L\x18" + bytes(99), "LZ4 in its legacy format"),
        ("a.csv", b"a.jpg,1\n", "is not an archive that Facecrop reads"),
        ("a.jpg", b"\xff\xd8\xff\xe0 JPEG", "single image"),
        ("a.bin", b"\x89PNG\r\n\x1a\n", "single image"),
        ("a.gz", gzip.compress(b"text " * 500, mtime=0), "not a TAR"),
        ("a.zst", zstandard.compress(b"text " * 500), "not a TAR"),
        ("a.tar", b"text " * 500, "not a TAR"),
        ("a.tar", bytes(1024), "empty TAR"),
    ],
)
def test_what_is_no_archive(tmp_path: Path, name: str, data: bytes, words: str) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(ArchiveError, match=words) as caught:
        open_archive(str(path), LIMITS)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)

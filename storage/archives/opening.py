"""Opens whatever was handed in, deciding by content what it is."""

from __future__ import annotations

from pathlib import PurePosixPath
from urllib.parse import urlsplit

from storage.archives.expand import method_of
from storage.archives.foreign import foreign
from storage.archives.listing import FolderArchive, UriList
from storage.archives.members import Archive, ChunkSize, Limits
from storage.archives.nested import NestedArchive
from storage.archives.spelling import AUTO
from storage.archives.tar import TarArchive
from storage.archives.tarheaders import BLOCK, is_header
from storage.archives.tarstream import TarStream
from storage.archives.zip import ZipArchive
from storage.archives.zipdirectory import find_end
from storage.errors import ArchiveError
from storage.fs.fingerprint import Fingerprint, changed
from storage.fs.location import RangeReader, probe, resolve
from storage.output.names import looks_like_image

_KINDS = (
    "ZIP, TAR (plain, or in gzip, bzip2, xz, zstd or LZ4), a folder, or a .txt list of image URIs"
)
_IMAGES = (b"\xff\xd8\xff", b"\x89PNG\r\n", b"GIF8", b"II*\0", b"MM\0*")


def open_archive(
    uri: str | list[str],
    limits: Limits,
    fingerprint: Fingerprint | None = None,
    names: str = AUTO,
) -> Archive:
    """Open an archive, a folder or prefix, or a list of image URIs.

    Args:
        uri: a path or URI, or the image URIs themselves. One that ends in `/` is a folder.
        limits: what a reader never goes beyond.
        fingerprint: the one seen before, where only `read` of known chunks is wanted, perhaps on
            another machine: no directory is read and nothing is listed before `members` or
            `chunks` ask for it.
        names: the encoding of names that are not marked as UTF-8, or an archive's `names`.

    Raises:
        ArchiveError: absent, forbidden, damaged, not an archive, or not the one of `fingerprint`.
        TransientError: storage failed.
    """
    archive = _open_outer(uri, limits, fingerprint, names)
    return NestedArchive(archive, limits) if limits.nested else archive


def _open_outer(
    uri: str | list[str], limits: Limits, fingerprint: Fingerprint | None, names: str
) -> Archive:
    if isinstance(uri, list):
        listed = UriList.of(uri, limits)
        if fingerprint not in (None, listed.fingerprint):
            raise changed(listed.uri)
        return listed
    location = resolve(uri, limits.redirects)
    found = None if uri.endswith("/") else probe(location)
    if found is None:
        return FolderArchive(location, limits, fingerprint)
    if fingerprint not in (None, found):
        raise changed(uri)
    archive = _open_file(RangeReader(location, found), limits, names)
    if fingerprint is None and archive.members is None:
        next(archive.chunks(ChunkSize(members=1, bytes=1)))  # raises if it is no TAR inside
    return archive


def _open_file(reader: RangeReader, limits: Limits, names: str) -> Archive:
    uri, head = reader.uri, reader.read(0, min(BLOCK, reader.size))
    extension = PurePosixPath(urlsplit(uri).path.replace("\\", "/")).suffix.lower()
    if not head:
        raise ArchiveError(f"{uri} is empty (0 bytes); copy or download it again")
    if head[:4] in (b"PK\3\4", b"PK\5\6"):
        return ZipArchive(reader, limits, names)
    if is_header(head) or (extension == ".tar" and not head.strip(b"\0")):
        return TarArchive(reader, limits, names)
    if (method := method_of(head)) is not None:
        return TarStream(reader, limits, method, names)
    if head.startswith(_IMAGES) or (looks_like_image(uri) and not head.startswith(b"PK")):
        raise ArchiveError(
            f"{uri} is a single image; hand in its folder, an archive, or a .txt list of image URIs"
        )
    if extension in (".txt", ".list"):
        return UriList.from_file(reader, limits)
    if find_end(reader) is not None:  # a self-extracting program with a ZIP behind it
        return ZipArchive(reader, limits, names)
    if (what := foreign(reader, head)) is not None:
        raise ArchiveError(f"{uri} {what}")
    if extension == ".tar":
        return TarArchive(reader, limits, names)  # whose walk says what is wrong
    raise ArchiveError(f"{uri} is not an archive that Facecrop reads: {_KINDS}")

"""Opens whatever was handed in, deciding by content what it is."""

from __future__ import annotations

from pathlib import PurePosixPath
from urllib.parse import urlsplit

from storage.errors import ArchiveError
from storage.listing import FolderArchive, UriList
from storage.location import RangeReader, changed, probe, resolve
from storage.members import Archive, ChunkSize, Fingerprint, Limits
from storage.names import looks_like_image
from storage.tar import TarArchive, TarStream
from storage.tarheaders import BLOCK, is_header
from storage.zip import ZipArchive
from storage.zipdirectory import find_end

_KINDS = "ZIP, TAR, TAR.GZ, TAR.ZST, a folder, or a .txt list of image URIs"
_IMAGES = (b"\xff\xd8\xff", b"\x89PNG\r\n", b"GIF8", b"II*\0", b"MM\0*")


def open_archive(
    uri: str | list[str], limits: Limits, fingerprint: Fingerprint | None = None
) -> Archive:
    """Opens an archive, a folder or prefix, or a list of image URIs.

    Args:
        uri: a path or URI, or the image URIs themselves. One that ends in `/` is a folder.
        limits: what a reader never goes beyond.
        fingerprint: the one seen before, where only `read` of known chunks is wanted, perhaps on
            another machine: no directory is read and nothing is listed before `members` or
            `chunks` ask for it.

    Raises:
        ArchiveError: absent, forbidden, damaged, not an archive, or not the one of `fingerprint`.
        TransientError: storage failed.
    """
    if isinstance(uri, list):
        listed = UriList(uri, limits)
        if fingerprint not in (None, listed.fingerprint):
            raise changed(listed.uri)
        return listed
    location = resolve(uri)
    found = None if uri.endswith("/") else probe(location)
    if found is None:
        return FolderArchive(location, limits, fingerprint)
    if fingerprint not in (None, found):
        raise changed(uri)
    archive = _open_file(RangeReader(location, found), limits)
    if fingerprint is None and archive.members is None:
        next(archive.chunks(ChunkSize(members=1, bytes=1)))  # raises if it is no TAR inside
    return archive


def _open_file(reader: RangeReader, limits: Limits) -> Archive:
    uri, head = reader.uri, reader.read(0, min(BLOCK, reader.size))
    extension = PurePosixPath(urlsplit(uri).path.replace("\\", "/")).suffix.lower()
    if not head:
        raise ArchiveError(f"{uri} is empty (0 bytes); copy or download it again")
    if head[:4] in (b"PK\3\4", b"PK\5\6"):
        return ZipArchive(reader, limits)
    if is_header(head) or (extension == ".tar" and not head.strip(b"\0")):
        return TarArchive(reader, limits)
    if head[:2] == b"\x1f\x8b":
        return TarStream(reader, limits, "tar.gz")
    if head[:4] == b"\x28\xb5\x2f\xfd" or (head[1:4] == b"\x2a\x4d\x18" and head[0] >> 4 == 5):
        return TarStream(reader, limits, "tar.zst")
    if head.startswith(_IMAGES) or (looks_like_image(uri) and not head.startswith(b"PK")):
        raise ArchiveError(
            f"{uri} is a single image; hand in its folder, an archive, or a .txt list of image URIs"
        )
    if extension in (".txt", ".list"):
        return UriList.from_file(reader, limits)
    if find_end(reader) is not None:  # a self-extracting program with a ZIP behind it
        return ZipArchive(reader, limits)
    if extension == ".tar":
        return TarArchive(reader, limits)  # whose walk says what is wrong
    raise ArchiveError(f"{uri} is not an archive that Facecrop reads: {_KINDS}")

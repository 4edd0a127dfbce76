"""The file that an archive in an archive is: of which kind, and how long at most."""

from __future__ import annotations

from collections.abc import Iterator

from storage.archives.expand import method_of
from storage.archives.foreign import foreign
from storage.archives.tarheaders import BLOCK, is_header
from storage.archives.zipdirectory import find_end
from storage.errors import ArchiveError, EmptyError, MemberError, MemberErrorCode
from storage.fs.location import RangeReader


def kind_of(reader: RangeReader) -> str:
    """What a file is, by its first bytes.

    Raises:
        ArchiveError: nothing that is opened.
    """
    head = reader.read(0, min(BLOCK, reader.size))
    if head[:4] in (b"PK\3\4", b"PK\5\6"):
        return "zip"
    if is_header(head):
        return "tar"
    if (method := method_of(head)) is not None:
        return method.name
    if not head.strip(b"\0"):
        raise EmptyError(f"{reader.uri} is empty")
    if find_end(reader) is not None:
        return "zip"
    if (what := foreign(reader, head)) is not None:
        raise ArchiveError(f"it {what}")
    raise ArchiveError("it is named like an archive, and is none that Facecrop reads, or damaged")


def bounded(pieces: Iterator[bytes], most: int) -> Iterator[bytes]:
    """The content of an inner archive, of at most so many bytes.

    Raises:
        MemberError: there are more.
    """
    size = 0
    for piece in pieces:
        size += len(piece)
        if size > most:
            raise MemberError(
                MemberErrorCode.TOO_LARGE,
                f"it unpacks to more than {most} bytes; unpack it first, or store it uncompressed",
            )
        yield piece

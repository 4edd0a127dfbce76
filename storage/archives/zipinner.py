"""A member of a ZIP that is an archive itself: where it lies, or how it is inflated."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from isal import isal_zlib

from storage.archives.members import Inner, Limits
from storage.archives.ranges import Part
from storage.archives.unpack import METHODS
from storage.archives.zipdirectory import Columns
from storage.archives.zipmember import LOCAL, refusal
from storage.errors import MemberError, MemberErrorCode, SkipReason, too_large
from storage.fs.location import RangeReader
from storage.output.names import skip_reason

_STORED, _DEFLATED = 0, 8
_IN_MEMORY = 1 << 28  # bytes
_PIECE = 1 << 20  # bytes read at a time, and most that are inflated from them at a time
_UNBOUNDED = Limits(member_bytes=1 << 62)  # what lies as it is needs no memory


def find_inner(
    reader: RangeReader, shift: int, rows: Columns, name: str, limits: Limits, overlaps: bool
) -> Inner | None:
    """Find the member of the directory's first row; see `storage.archives.members.Archive.inner`.

    Args:
        reader: of the ZIP.
        shift: bytes before the archive proper.
        rows: the directory's.
        name: of the member.
        limits: bounds on it.
        overlaps: whether an earlier member claims its bytes.
    """
    size, stored = int(rows.size[0]), int(rows.stored[0])
    if skip_reason(name, system=limits.skip_system) is not SkipReason.NESTED_ARCHIVE:
        return None
    why = refusal(rows, 0, "-", overlaps, _UNBOUNDED)  # as of a member that is no archive
    if isinstance(why, SkipReason):
        return None
    try:
        if why is not None:
            raise why
        begin = _content_at(reader, int(rows.offset[0]) + shift, rows)
        if begin + stored > reader.size:
            raise _damaged("its data runs beyond the end of the archive")
    except MemberError as error:
        return Inner(name, size, stored, error=error)
    end = begin + stored
    if rows.method[0] == _STORED:
        return Inner(name, size, stored, Part(reader, begin, end, name))
    crc, method, flags = int(rows.crc[0]), int(rows.method[0]), int(rows.flags[0])
    if method == _DEFLATED:
        return Inner(name, size, stored, pieces=lambda: _inflated(reader, begin, end, size, crc))
    most = max(size, stored)
    if most > _IN_MEMORY:  # the others are unpacked there
        return Inner(name, size, stored, error=too_large(most, _IN_MEMORY))

    def unpacked() -> Iterator[bytes]:
        data = METHODS[method](memoryview(reader.read(begin, end)), size, flags)
        _check(len(data), size, isal_zlib.crc32(data), crc)
        yield bytes(data)

    return Inner(name, size, stored, pieces=unpacked)


def _content_at(reader: RangeReader, place: int, rows: Columns) -> int:
    head = reader.read(place, min(place + LOCAL.size, reader.size)) if place >= 0 else b""
    if len(head) < LOCAL.size or head[:4] != b"PK\3\4":
        raise _damaged("there is no header where the directory says that it begins")
    _, _, _, method, *_, name, extra = LOCAL.unpack(head)
    if method != rows.method[0]:
        raise _damaged("its header and the directory disagree on the compression")
    return place + LOCAL.size + int(name) + int(extra)


def _inflated(reader: RangeReader, begin: int, end: int, size: int, crc: int) -> Iterator[bytes]:
    """Inflate a member piece by piece, and check its length and checksum at the end."""
    inflater = zlib.decompressobj(-15)
    length = checksum = 0
    try:
        for at in range(begin, end, _PIECE):
            rest = reader.read(at, min(at + _PIECE, end))
            while rest and not inflater.eof:
                data = inflater.decompress(rest, _PIECE)
                rest = inflater.unconsumed_tail
                length += len(data)
                if length > size:
                    break
                checksum = isal_zlib.crc32(data, checksum)
                yield data
        while not inflater.eof and length <= size and (data := inflater.decompress(b"", _PIECE)):
            length += len(data)
            checksum = isal_zlib.crc32(data, checksum)
            yield data
    except zlib.error as error:
        raise _damaged(f"its compressed data is damaged ({error})") from error
    if not inflater.eof and length <= size:
        raise _damaged("its compressed data ends too early")
    _check(length, size, checksum, crc)


def _check(length: int, size: int, checksum: int, crc: int) -> None:
    if length != size:
        relation = "more than" if length > size else f"{length} instead of"
        raise MemberError(
            MemberErrorCode.SIZE_MISMATCH, f"it has {relation} the {size} bytes it declares"
        )
    if checksum != crc:
        raise MemberError(
            MemberErrorCode.CRC_MISMATCH, "its content does not match its checksum: it is damaged"
        )


def _damaged(what: str) -> MemberError:
    return MemberError(MemberErrorCode.CORRUPT_ENTRY, what)

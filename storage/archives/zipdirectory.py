"""The end and the central directory of a ZIP file (PKWARE's APPNOTE.TXT, sections 4.3 to 4.5)."""

from __future__ import annotations

import struct
import zlib
from array import array
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from storage.archives.cutting import Column
from storage.archives.spelling import Spelling
from storage.errors import ArchiveError, too_many
from storage.fs.location import RangeReader

_END = struct.Struct("<4s4H2LH")  # 4.3.16
_LOCATOR = struct.Struct("<4sLQL")  # 4.3.15
_END64 = struct.Struct("<4sQ2H2L4Q")  # 4.3.14
_ENTRY = b"PK\1\2"
_COMMENT = 0xFFFF
_ENTRY_BYTES = 46
# 4.3.12
_CENTRAL = np.dtype(
    [
        *[("signature", "<u4"), ("made_by", "<u2"), ("needed", "<u2"), ("flags", "<u2")],
        *[("method", "<u2"), ("time", "<u2"), ("date", "<u2"), ("crc", "<u4")],
        *[("stored", "<u4"), ("size", "<u4"), ("name", "<u2"), ("extra", "<u2")],
        *[("comment", "<u2"), ("disk", "<u2"), ("internal", "<u2"), ("external", "<u4")],
        ("offset", "<u4"),
    ]
)
_FULL = 0xFFFFFFFF  # "look in the zip64 extra field"
_BEYOND = 2**61  # caps declared 64-bit sizes, so that sums of a few stay within int64
_BLOCK = 16384  # entries gathered at a time: bounds the gather's index array to 6 MB
_AGAIN = "copy or download it again"
_ZIP64_EXTRA = 0x0001
_NAME_EXTRA = 0x7075
_IS_UTF8 = 0x800  # general purpose bit 11, 4.4.4

_PIECE = 16 << 20
_MAX_DIRECTORY = 1 << 30  # bytes: it is held in memory; ten million entries have some 700 MiB

Octets = bytes | bytearray


@dataclass(frozen=True, slots=True)
class End:
    """What the end record says, corrected for what stands before the archive.

    Attributes:
        start: where the directory begins in the file.
        size: its bytes.
        shift: bytes before the archive proper (a self-extractor): add it to every offset.
        entries: how many it declares.
        counts_wrap: the count is modulo 65536, as some writers without zip64 leave it.
    """

    start: int
    size: int
    shift: int
    entries: int
    counts_wrap: bool


@dataclass(frozen=True, slots=True)
class Columns:
    """Entries of a directory as columns, directory entries left out.

    Attributes:
        at: where each record begins in the directory's bytes.
        name, extra: lengths in bytes.
        stored, size: bytes in the file and after inflating, zip64 applied.
        offset: of the local header, as stated, zip64 applied.
        flags, method, crc, made_by, external: as stated.
    """

    at: Column
    name: Column
    extra: Column
    stored: Column
    size: Column
    offset: Column
    flags: Column
    method: Column
    crc: Column
    made_by: Column
    external: Column


def find_end(reader: RangeReader) -> End | None:
    """Look for the end record in the file's last 64 KiB or so; None if it has none.

    Raises:
        ArchiveError: it is one part of a split archive, or its numbers make no sense.
        TransientError: storage failed.
    """
    tail_at = max(0, reader.size - _COMMENT - _END.size - _LOCATOR.size - _END64.size)
    tail = reader.read(tail_at, reader.size)
    candidates = []
    at = tail.rfind(b"PK\5\6", 0, max(0, len(tail) - _END.size + 4))
    while at >= 0:
        candidates.append(at)
        at = tail.rfind(b"PK\5\6", 0, at + 3)
    # a comment or what follows may hold the signature by chance or by malice
    candidates.sort(key=lambda at: (not _ends_file(tail, at), not _sensible(tail, tail_at, at)))
    return _end(reader, tail_at, tail, candidates[0]) if candidates else None


def _ends_file(tail: bytes, at: int) -> bool:
    return at + _END.size + int(_END.unpack_from(tail, at)[7]) == len(tail)


def _sensible(tail: bytes, tail_at: int, at: int) -> bool:
    _, disk, _, here, entries, size, _, _ = _END.unpack_from(tail, at)
    return not disk and here == entries and (size == _FULL or size <= tail_at + at)


def _end(reader: RangeReader, tail_at: int, tail: bytes, at: int) -> End:
    _, disk, first_disk, here, entries, size, offset, _ = _END.unpack_from(tail, at)
    behind = tail_at + at
    locator = tail[max(0, at - _LOCATOR.size) : at]
    is64 = False
    if locator[:4] == b"PK\6\7" and len(locator) == _LOCATOR.size:
        _, _, stated, disks = _LOCATOR.unpack(locator)
        # usually it stands right before its locator, whatever was put before the archive
        for place in (behind - _LOCATOR.size - _END64.size, stated):
            if 0 <= place <= behind - _LOCATOR.size - _END64.size:
                record = reader.read(place, place + _END64.size)
                if record[:4] == b"PK\6\6":
                    is64, behind = True, place
                    _, _, _, _, disk, first_disk, here, entries, size, offset = _END64.unpack(
                        record
                    )
                    break
        if disks > 1:
            disk = disks
    if disk or first_disk or here != entries:
        raise ArchiveError(
            f"{reader.uri} is one part of a split (multi-disk) ZIP; join the parts into one file"
        )
    if not is64 and (size == _FULL or offset == _FULL):
        raise ArchiveError(f"{reader.uri} has lost its zip64 end record; {_AGAIN}")
    if size > behind or entries * _ENTRY_BYTES > size:
        raise ArchiveError(
            f"{reader.uri} declares a ZIP directory of {entries} entries in {size} bytes, which "
            f"cannot be: it is cut short or damaged; {_AGAIN}"
        )
    start = behind - size
    # with a signature or padding behind the directory, its stated place is the right one
    if (
        0 < size <= behind - offset
        and start != offset
        and reader.read(start, start + 4) != _ENTRY
        and reader.read(offset, offset + 4) == _ENTRY
    ):
        start = offset
    return End(start, size, start - offset, entries, counts_wrap=not is64)


def read_directory(reader: RangeReader, end: End, most: int) -> tuple[Octets, Column]:
    """Read the directory, if it has `most` entries at most.

    Returns:
        Its bytes and where in them each record begins.

    Raises:
        ArchiveError: it is damaged, too large, or holds another number of entries than declared.
        TransientError: storage failed.
    """
    if end.entries > most:
        raise too_many(reader.uri, most)
    if end.size > _MAX_DIRECTORY:
        raise ArchiveError(
            f"{reader.uri} has a ZIP directory of {end.size:,} bytes, where {_MAX_DIRECTORY:,} are "
            "the most that are read; split the archive into several"
        )
    if end.shift < 0:
        raise ArchiveError(
            f"{reader.uri} is a ZIP with bytes missing before its directory; {_AGAIN}"
        )
    # in pieces, because one answer of its size would be in memory twice while it arrives
    raw = bytearray(end.size)
    for at in range(0, end.size, _PIECE):
        until = min(at + _PIECE, end.size)
        raw[at:until] = reader.read(end.start + at, end.start + until)
    records, walked = walk(raw)
    # 4.3.13: a digital signature may follow
    if walked != len(raw) and raw[walked : walked + 4] != b"PK\5\5":
        raise ArchiveError(
            f"{reader.uri} has a damaged ZIP directory after {len(records)} of {end.entries} "
            f"entries; {_AGAIN}"
        )
    modulus = 65536 if end.counts_wrap else _BEYOND
    if (len(records) - end.entries) % modulus:
        raise ArchiveError(
            f"{reader.uri} declares {end.entries} entries, but its ZIP directory holds "
            f"{len(records)}; {_AGAIN}"
        )
    if len(records) > most:  # a count that wraps says nothing
        raise too_many(reader.uri, most)
    del raw[walked:]
    return raw, records


def walk(raw: Octets) -> tuple[Column, int]:
    """Find where each directory record begins, and where the last one ends."""
    lengths = struct.Struct("<3H").unpack_from
    starts = array("q")
    at, size = 0, len(raw)
    while at + _ENTRY_BYTES <= size and raw[at : at + 4] == _ENTRY:
        name, extra, comment = lengths(raw, at + 28)
        following = at + _ENTRY_BYTES + name + extra + comment
        if following > size:
            break
        starts.append(at)
        at = following
    return np.frombuffer(starts, np.int64), at


def columns(raw: Octets, records: Column) -> Columns:
    """Read the records that begin at `records`, leaving out directories."""
    octets = np.frombuffer(raw, np.uint8)
    fixed = np.empty(len(records), _CENTRAL)
    fixed.view(np.uint8).reshape(-1, _ENTRY_BYTES)[:] = octets[
        records[:, None] + np.arange(_ENTRY_BYTES)
    ]
    ends_in = octets[records + (_ENTRY_BYTES - 1) + fixed["name"]]
    is_folder = (ends_in == ord("/")) & (fixed["size"] == 0) & (fixed["name"] > 0)
    fixed, at = fixed[~is_folder], records[~is_folder]
    wide = {field: fixed[field].astype(np.int64) for field in ("size", "stored", "offset")}
    for row in np.flatnonzero(
        (fixed["size"] == _FULL) | (fixed["stored"] == _FULL) | (fixed["offset"] == _FULL)
    ):
        extra_at = int(at[row]) + _ENTRY_BYTES + int(fixed["name"][row])
        field = extra_field(raw[extra_at : extra_at + int(fixed["extra"][row])], _ZIP64_EXTRA)
        # 4.5.3: only the fields that are full stand there, in this order
        for column in wide.values():
            if column[row] == _FULL and len(field) >= 8:
                column[row] = min(int.from_bytes(field[:8], "little"), _BEYOND)
                field = field[8:]
    narrow = ("name", "extra", "flags", "method", "crc", "made_by", "external")
    return Columns(at=at, **wide, **{field: fixed[field].astype(np.int64) for field in narrow})


def blocks(raw: Octets, records: Column) -> Iterator[Columns]:
    """Read all records, a block of them at a time."""
    for first in range(0, len(records), _BLOCK):
        yield columns(raw, records[first : first + _BLOCK])


def extra_field(extra: Octets, wanted: int) -> Octets:
    """The data of the first extra field with that header ID (4.5.1); empty if there is none."""
    at = 0
    while at + 4 <= len(extra):
        kind, size = struct.unpack_from("<2H", extra, at)
        if kind == wanted:
            return extra[at + 4 : at + 4 + size]
        at += 4 + size
    return b""


def raw_name(raw: Octets, rows: Columns, row: int) -> tuple[bytes, bool]:
    """The name of a member as it stands there, and whether it is marked as UTF-8.

    Info-ZIP's Unicode path (4.6.9) goes before it where it belongs to it. Flag bit 11 says UTF-8,
    but many writers of UTF-8 forget it and some set it wrongly.
    """
    at = int(rows.at[row]) + _ENTRY_BYTES
    end = at + int(rows.name[row])
    name = bytes(raw[at:end])
    extra = raw[end : end + int(rows.extra[row])]
    if b"up" in extra:
        field = extra_field(extra, _NAME_EXTRA)
        if field[:1] == b"\1" and field[1:5] == zlib.crc32(name).to_bytes(4, "little"):
            return bytes(field[5:]), True
    return name, bool(rows.flags[row] & _IS_UTF8)


def member_name(raw: Octets, rows: Columns, row: int, spelling: Spelling) -> str:
    """The name of a member as text."""
    name, is_utf8 = raw_name(raw, rows, row)
    return spelling.text(name, is_utf8=is_utf8)

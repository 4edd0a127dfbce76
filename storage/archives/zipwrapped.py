"""ZIPs above 4 GiB without zip64, whose numbers are modulo 2^32, as macOS has written them.

Offsets grow from member to member, so each has wrapped once more where it is below the end of the
member before. A size that has wrapped shows in what follows: no header is where it should be.
"""

from __future__ import annotations

import struct
from dataclasses import replace

import numpy as np

from storage.archives.cutting import Column
from storage.archives.zipdirectory import End, Octets, columns
from storage.fs.location import RangeReader

_WRAP = 1 << 32
_LOCAL = struct.Struct("<4s5H3L2H")  # APPNOTE 4.3.7
_FULL = b"\xff\xff\xff\xff"
_SIZES_AT, _LENGTHS_AT, _OFFSET_AT, _RECORD = 20, 28, 42, 46  # in a record, 4.3.12
_MOST_SIZES = 1000  # sizes that have wrapped: each costs some twenty reads to find


def unwrapped(
    reader: RangeReader, end: End, raw: Octets, records: Column
) -> tuple[End, Octets, Column]:
    """Give the directory as zip64 would have it, where its numbers have wrapped.

    Args:
        reader: of the archive.
        end: what its end record says.
        raw: the directory.
        records: where in it each record begins.

    Returns:
        The same three, changed where the local headers bear it out.

    Raises:
        TransientError: storage failed.
    """
    if end.start < _WRAP or not end.counts_wrap:
        return end, raw, records
    rows = columns(raw, records)  # folders are no members, and are left out
    if not len(rows.at):
        return end, raw, records
    shift = end.shift % _WRAP
    offsets, stored, sizes = rows.offset, rows.stored.copy(), rows.size.copy()
    least = _LOCAL.size + rows.name

    def unfold() -> Column:
        """Each offset, at the first place behind the member before that it may mean."""
        places = np.empty(len(offsets), np.int64)
        before = 0
        for row, (offset, length) in enumerate(
            zip(offsets.tolist(), (least + stored).tolist(), strict=True)
        ):
            place = offset + max(0, -(-(before - offset) // _WRAP)) * _WRAP
            places[row] = place
            before = place + length
        return places

    def is_there(row: int) -> bool:
        """Whether the member's local header is where it should be."""
        at = shift + int(places[row])
        head = reader.read(at, min(at + _LOCAL.size + int(rows.name[row]), end.start))
        name_at = int(rows.at[row]) + _RECORD
        name = raw[name_at : name_at + int(rows.name[row])]
        return head[:4] == b"PK\3\4" and head[_LOCAL.size :] == name

    places = unfold()
    if not is_there(0):
        return end, raw, records
    for _ in range(_MOST_SIZES):
        if is_there(len(places) - 1):
            break
        # the last one that is where it should be is the one whose size has wrapped
        low, high = 0, len(places) - 1
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if is_there(middle) else (low, middle)
        stored[low] += _WRAP
        sizes[low] += _WRAP
        places = unfold()
        if shift + int(places[-1]) >= end.start:
            return end, raw, records
    rest = end.start - shift - int(places[-1] + least[-1] + stored[-1])
    if rest >= _WRAP:  # the last member's own
        stored[-1] += rest // _WRAP * _WRAP
        sizes[-1] += rest // _WRAP * _WRAP
    made, at = _as_zip64(raw, rows.at, places, stored, sizes)
    return replace(end, shift=shift), made, at


def _as_zip64(
    raw: Octets, records: Column, places: Column, stored: Column, sizes: Column
) -> tuple[bytearray, Column]:
    """The directory with each number in a zip64 field (4.5.3) that 32 bits cannot hold."""
    made = bytearray()
    at = np.empty(len(records), np.int64)
    for row, begin in enumerate(records.tolist()):
        at[row] = len(made)
        lengths = struct.unpack_from("<3H", raw, begin + _LENGTHS_AT)
        record = bytearray(raw[begin : begin + _RECORD + sum(lengths)])
        field = b""
        if sizes[row] >= _WRAP:
            record[_SIZES_AT : _SIZES_AT + 8] = 2 * _FULL
            field += struct.pack("<QQ", sizes[row], stored[row])
        if places[row] >= _WRAP:
            record[_OFFSET_AT : _OFFSET_AT + 4] = _FULL
            field += struct.pack("<Q", places[row])
        if field:
            behind = _RECORD + lengths[0]
            record[behind:behind] = struct.pack("<2H", 1, len(field)) + field
            struct.pack_into("<H", record, _LENGTHS_AT + 2, lengths[1] + 4 + len(field))
        made += record
    return made, at

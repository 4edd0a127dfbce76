"""How a ZIP is cut into chunks: which bytes a member may be read from, and what a chunk holds."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from storage.archives.cutting import Column, Marks, alone, cut, places
from storage.archives.members import Chunk, ChunkSize, Limits, Listed
from storage.archives.naming import Names
from storage.archives.spelling import Sample, Spelling
from storage.archives.zipdirectory import (
    Octets,
    blocks,
    columns,
    find_end,
    member_name,
    raw_name,
    read_directory,
)
from storage.archives.zipmember import LOCAL
from storage.archives.zipwrapped import unwrapped
from storage.errors import ArchiveError, EmptyError
from storage.fs.location import RangeReader

LAST = "cp437"
"""The encoding of names that are neither UTF-8 nor what is guessed, APPNOTE D.1."""

_HEAD = struct.Struct("<q3I")
_MAX_GAP = 1 << 20  # reading this much in vain is cheaper than one more request


@dataclass(frozen=True, slots=True)
class ZipPlan:
    """The directory and, one value a member, what cutting it into chunks needs.

    Attributes:
        raw: the directory's bytes, up to the end of its last record.
        shift: bytes before the archive proper.
        at: where each member's record begins in `raw`.
        start, stop: the byte range of the file that holds its local header and data.
        unread: its data is never read: too large, or claimed by an earlier one.
        overlaps: an earlier member in the file claims its bytes.
        again: its crop name is taken.
        nested: indexes of the members that are archives themselves.
        spelling: how names are read.
    """

    raw: Octets
    shift: int
    at: Column
    start: Column
    stop: Column
    unread: Marks
    overlaps: Marks
    again: Marks
    nested: Column
    spelling: Spelling

    def chunks(self, size: ChunkSize) -> Iterator[Chunk]:
        """Cut the archive in directory order; see `storage.archives.members.Archive.chunks`."""
        begin, end = places(np.where(self.unread, 0, self.stop - self.start))
        for chunk in cut(begin, end, self.again, size, nested=self.nested):
            yield self._filled(chunk, size.bytes // 4)

    def listed(self) -> Iterator[Listed]:
        """Give each member's row; see `storage.archives.members.Archive.listed`."""
        for rows in blocks(self.raw, self.at):
            sizes, sums = rows.size.tolist(), rows.crc.tolist()
            for row, (size, crc) in enumerate(zip(sizes, sums, strict=True)):
                yield Listed(member_name(self.raw, rows, row, self.spelling), size, crc)

    def picked(self, indexes: Sequence[int]) -> Iterator[Chunk]:
        """Give some members alone; see `storage.archives.members.Archive.picked`."""
        for at in indexes:
            yield self._filled(alone(at, again=bool(self.again[at])), 0)

    def _filled(self, chunk: Chunk, waste: int) -> Chunk:
        """The chunk with what `read` needs."""
        rows = slice(chunk.first, chunk.last + 1)
        wanted = ~self.unread[rows]
        spans = _spans(self.start[rows][wanted], self.stop[rows][wanted], waste)
        until = int(self.at[rows.stop]) if rows.stop < len(self.at) else len(self.raw)
        records = self.raw[int(self.at[chunk.first]) : until]
        return replace(
            chunk,
            start=spans[0][0] if spans else 0,
            end=spans[-1][1] if spans else 0,
            directory=Told(
                self.shift,
                spans,
                frozenset(np.flatnonzero(self.overlaps[rows]).tolist()),
                self.spelling,
                records,
            ).encode(),
        )


def plan_zip(reader: RangeReader, limits: Limits, known: Spelling | None) -> ZipPlan:
    """Read a ZIP's directory, and work out which bytes of the file each member may be read from.

    Args:
        reader: of the archive.
        limits: bounds on it.
        known: how names are read; None: it is guessed.

    Raises:
        ArchiveError: the directory is missing, damaged, too large or empty.
        TransientError: storage failed.
    """
    end = find_end(reader)
    if end is None:
        raise ArchiveError(
            f"{reader.uri} is a ZIP that is cut short: the directory at its end is missing; "
            "copy or download it again"
        )
    raw, records = read_directory(reader, end, limits.members)
    end, raw, records = unwrapped(reader, end, raw, records)
    kept = Names(opens=limits.nested > 0)
    spelling = known or Spelling()
    odd = array("q")  # members with other letters than ASCII's
    # filled in place: a million members must plan in a fraction of 300 MiB
    at, start, claim = (np.empty(len(records), np.int64) for _ in range(3))
    credible, oversize = (np.empty(len(records), np.bool_) for _ in range(2))
    count = 0
    for rows in blocks(raw, records):
        filled = slice(count, count + len(rows.at))
        at[filled], start[filled] = rows.at, rows.offset + end.shift
        claim[filled] = start[filled] + LOCAL.size + rows.name + rows.stored
        # a damaged length that cannot be true must not take the members behind it along
        possible = rows.stored <= rows.size + rows.size // 8 + 1024
        credible[filled] = possible & (claim[filled] <= end.start)
        oversize[filled] = np.maximum(rows.size, rows.stored) > limits.member_bytes
        names = [member_name(raw, rows, row, spelling) for row in range(len(rows.at))]
        kept.add(names)
        odd.extend(count + row for row, name in enumerate(names) if not name.isascii())
        count = filled.stop
    del records
    if not count:
        raise EmptyError(f"{reader.uri} is an empty ZIP: there is nothing in it to work on")
    at, start, claim = at[:count], start[:count], claim[:count]
    if known is None and odd:
        spelling = _guessed(raw, at[np.frombuffer(odd, np.int64)])
        if spelling.encoding:
            for index in odd:
                row = columns(raw, at[index : index + 1])
                kept.replace(index, member_name(raw, row, 0, spelling))
    overlaps = _overlaps(start, np.where(credible[:count], claim, start))
    # only the local header knows how long its own extra field is: up to 64 KiB
    stop = np.minimum(claim + 0xFFFF, _next(start[~overlaps], start, end.start))
    outside = (start < 0) | (stop <= start)
    return ZipPlan(
        raw=raw,
        shift=end.shift,
        at=at,
        start=start,
        stop=stop,
        unread=oversize[:count] | overlaps | outside,
        overlaps=overlaps,
        again=kept.again,
        nested=kept.nested,
        spelling=spelling,
    )


def _guessed(raw: Octets, records: Column) -> Spelling:
    """How names are read that are not marked as UTF-8."""
    sample = Sample()
    for rows in blocks(raw, records):
        for row in range(len(rows.at)):
            name, is_utf8 = raw_name(raw, rows, row)
            if not is_utf8:
                sample.add(name)
    return sample.guess(LAST)


def _overlaps(start: Column, claim: Column) -> Marks:
    """Mark members that begin before the claim of one that begins earlier has ended."""
    order = np.argsort(start, kind="stable")
    reach = np.maximum.accumulate(claim[order])
    marks = np.zeros(len(start), np.bool_)
    marks[order[1:]] = start[order[1:]] < reach[:-1]
    # two claims of the same place, even where the first is not credible
    marks[order[1:]] |= start[order[1:]] == start[order[:-1]]
    return marks


def _next(headers: Column, start: Column, directory: int) -> Column:
    """For each start, the nearest header behind it, or the directory's start."""
    bounds = np.append(np.sort(headers), directory)
    after = np.searchsorted(bounds, start, side="right")
    nearest: Column = np.minimum(bounds[np.minimum(after, len(bounds) - 1)], directory)
    return nearest


def _spans(start: Column, stop: Column, waste: int) -> list[tuple[int, int]]:
    """Join ranges across small gaps, reading at most `waste` bytes in vain."""
    order = np.argsort(start, kind="stable")
    spans: list[tuple[int, int]] = []
    for begin, end in zip(start[order].tolist(), stop[order].tolist(), strict=True):
        gap = begin - spans[-1][1] if spans else 0
        if spans and gap <= min(_MAX_GAP, waste):
            waste -= max(gap, 0)
            spans[-1] = (spans[-1][0], max(spans[-1][1], end))
        else:
            spans.append((begin, end))
    return spans


@dataclass(frozen=True, slots=True)
class Told:
    """What a chunk's reader needs beside its byte range; the chunk's `directory`.

    Attributes:
        shift: bytes before the archive proper.
        spans: the ranges that may be read, sorted.
        overlaps: rows that claim what an earlier member has.
        spelling: how names are read.
        records: the chunk's slice of the archive's directory.
    """

    shift: int
    spans: list[tuple[int, int]]
    overlaps: frozenset[int]
    spelling: Spelling
    records: bytes | bytearray

    def encode(self) -> bytes:
        """As bytes, so that the chunk can be read on another machine."""
        numbers = [bound for span in self.spans for bound in span] + sorted(self.overlaps)
        names = str(self.spelling).encode()
        head = _HEAD.pack(self.shift, len(self.spans), len(self.overlaps), len(names))
        return head + struct.pack(f"<{len(numbers)}q", *numbers) + names + self.records

    @classmethod
    def decode(cls, directory: bytes) -> Told:
        """What `encode` was given."""
        shift, spans, overlaps, names = _HEAD.unpack_from(directory)
        numbers = struct.unpack_from(f"<{2 * spans + overlaps}q", directory, _HEAD.size)
        bounds = numbers[: 2 * spans]
        at = _HEAD.size + 8 * len(numbers)
        return cls(
            shift,
            list(zip(bounds[::2], bounds[1::2], strict=True)),
            frozenset(numbers[2 * spans :]),
            Spelling.recorded(directory[at : at + names].decode(), LAST),
            directory[at + names :],
        )

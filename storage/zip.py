"""ZIP archives read by range, a piece at a time; each member is checked as it is inflated."""

from __future__ import annotations

import struct
import threading
import zlib
from bisect import bisect_right
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice, starmap
from operator import itemgetter
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from isal import isal_zlib

from storage.ahead import read_ahead
from storage.errors import (
    ArchiveError,
    MemberError,
    MemberErrorCode,
    SkipReason,
    TransientError,
    too_large,
    unreadable,
)
from storage.location import RangeReader
from storage.members import Chunk, ChunkSize, Entry, Limits
from storage.names import digest, repeats, skip_reason, unsafe
from storage.zipdirectory import (
    Column,
    Columns,
    Octets,
    blocks,
    columns,
    decode_name,
    find_end,
    read_directory,
    walk,
)

_LOCAL = struct.Struct("<4s5H3L2H")  # APPNOTE 4.3.7
_MAX_GAP = 1 << 20  # reading this much in vain is cheaper than one more request
_PIECE = 1 << 22  # bytes
_REMOTE_PIECE = 1 << 24  # bytes; several times as many at once cost the client twice the CPU each
_AHEAD = 1 << 26  # bytes
_AT_ONCE = 8  # pieces, over all chunks in hand
_STORED, _DEFLATED = 0, 8
_METHODS = {
    **{1: "shrink", 2: "reduce", 3: "reduce", 4: "reduce", 5: "reduce", 6: "implode"},
    **{9: "deflate64", 10: "PKWARE implode", 12: "bzip2", 14: "LZMA", 16: "CMPSC", 18: "TERSE"},
    **{19: "LZ77", 20: "zstd", 93: "zstd", 94: "MP3", 95: "xz", 96: "JPEG variant"},
    **{97: "WavPack", 98: "PPMd", 99: "AE-x (AES)"},
}  # APPNOTE 4.4.5
_UNIX_HOSTS = (3, 19)  # APPNOTE 4.4.2: UNIX, OS X


@dataclass(frozen=True, slots=True)
class _Plan:
    """The directory and, one value a member, what cutting it into chunks needs.

    Attributes:
        raw: the directory's bytes, up to the end of its last record.
        shift: bytes before the archive proper.
        at: where each member's record begins in `raw`.
        start, stop: the byte range of the file that holds its local header and data.
        unread: its data is never read: too large, or claimed by an earlier one.
        overlaps: an earlier member in the file claims its bytes.
        again: its crop name is taken.
    """

    raw: Octets
    shift: int
    at: Column
    start: Column
    stop: Column
    unread: npt.NDArray[np.bool_]
    overlaps: npt.NDArray[np.bool_]
    again: npt.NDArray[np.bool_]


class _Piece(NamedTuple):
    """A range that is read at once, and how many members it holds."""

    start: int
    end: int
    members: int


class ZipArchive:
    """A ZIP file (zip64 too); see `storage.members.Archive`.

    The directory is read at the first call of `members` or `chunks`; `read` needs the chunk alone.
    """

    kind = "zip"
    share_read = 0.0
    piecemeal = True

    def __init__(self, reader: RangeReader, limits: Limits) -> None:
        self.uri = reader.uri
        self.fingerprint = reader.fingerprint
        self._reader = reader
        self._limits = limits
        self._ahead = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="read-ahead")
        self._lock = threading.Lock()
        self._planned: _Plan | None = None

    @property
    def members(self) -> int:
        """Members in the archive."""
        return len(self._plan().at)

    def chunks(self, size: ChunkSize) -> Iterator[Chunk]:
        """Cuts the archive in directory order; see `storage.members.Archive.chunks`."""
        plan = self._plan()
        cost = np.where(plan.unread, 0, plan.stop - plan.start)
        spent = np.concatenate(([0], np.cumsum(cost)))
        first = number = 0
        while first < len(plan.at):
            fits = int(np.searchsorted(spent, spent[first] + size.bytes, side="right")) - 1
            last = max(first + 1, min(fits, first + size.members, len(plan.at)))
            yield _chunk(plan, number, first, last, size.bytes)
            first, number = last, number + 1

    def read(self, chunk: Chunk, *, last_try: bool = False) -> Iterator[Entry]:
        """Reads a chunk piece by piece and yields its members; see `storage.members.Archive.read`.

        Stored members are views of the piece that was read: keep one, and it keeps the piece.
        """
        shift, spans, overlaps, raw = _unpack(chunk.directory)
        rows = columns(raw, walk(raw)[0])
        if len(rows.at) != chunk.count:
            raise ArchiveError(f"{self.uri}: chunk {chunk.number} belongs to another archive")
        places = (shift + rows.offset).tolist()
        names = [_name(raw, rows, row) for row in range(chunk.count)]
        refused = [
            _refusal(rows, row, name, row in overlaps, self._limits)
            for row, name in enumerate(names)
        ]
        wanted = [place for place, why in zip(places, refused, strict=True) if why is None]
        heads = sorted(place for row, place in enumerate(places) if row not in overlaps)
        most = _PIECE if self._reader.location.is_local else _REMOTE_PIECE
        contents = self._from_places(wanted, _pieces(wanted, heads, spans, most), last_try)
        for row, (name, why) in enumerate(zip(names, refused, strict=True)):
            index, size = chunk.first + row, int(rows.size[row])
            if isinstance(why, SkipReason):
                yield Entry(index, name, size, skip=why)
                continue
            try:
                if why is not None:
                    raise why
                data = self._checked(next(contents), rows, row, places[row], last_try)
            except MemberError as error:
                yield Entry(index, name, size, error=error)
            else:
                yield Entry(index, name, size, data=data)

    def _from_places(
        self, places: list[int], pieces: list[_Piece], last_try: bool
    ) -> Iterator[memoryview | MemberError]:
        """The bytes from each place to the end of its piece."""
        read = partial(self._piece, last_try=last_try)
        ranges = [(piece.start, piece.end) for piece in pieces]
        # on local disk the system reads ahead
        contents = (
            starmap(read, ranges)
            if self._reader.location.is_local
            else read_ahead(self._ahead, read, ranges, _AHEAD)
        )
        waiting = iter(places)
        for content, piece in zip(contents, pieces, strict=True):
            for place in islice(waiting, piece.members):
                yield (
                    content if isinstance(content, MemberError) else content[place - piece.start :]
                )

    def _checked(
        self,
        view: memoryview | MemberError,
        rows: Columns,
        row: int,
        start: int,
        last_try: bool,
    ) -> bytes | memoryview:
        """A member's content, which is read once more before it is said to be damaged.

        A store, or what stands before it, may answer with other bytes than it was asked for, and
        only the checksum tells.
        """
        if isinstance(view, MemberError):
            raise view
        try:
            return _content(view, rows, row)
        except MemberError:
            if self._reader.location.is_local:
                raise
            most = _LOCAL.size + 2 * 0xFFFF + int(rows.stored[row])
            again = self._piece(start, start + min(len(view), most), last_try)
            if isinstance(again, MemberError):
                raise
            return _content(again, rows, row)

    def _piece(self, start: int, end: int, last_try: bool) -> memoryview | MemberError:
        """The bytes of a range; on the last try the error that its members then have."""
        try:
            return memoryview(self._reader.read(start, end))
        except TransientError as error:
            if not last_try:
                raise
            return unreadable(error)

    def _plan(self) -> _Plan:
        with self._lock:
            if self._planned is None:
                self._planned = _plan(self._reader, self._limits)
            return self._planned


def _plan(reader: RangeReader, limits: Limits) -> _Plan:
    end = find_end(reader)
    if end is None:
        raise ArchiveError(
            f"{reader.uri} is a ZIP that is cut short: the directory at its end is missing; "
            "copy or download it again"
        )
    raw, records = read_directory(reader, end, limits.members)
    digests = bytearray()
    # filled in place: a million members must plan in a fraction of 300 MiB
    at, start, size, stored, claim = (np.empty(len(records), np.int64) for _ in range(5))
    count = 0
    for rows in blocks(raw, records):
        filled = slice(count, count + len(rows.at))
        at[filled], start[filled] = rows.at, rows.offset + end.shift
        size[filled], stored[filled], claim[filled] = rows.size, rows.stored, rows.name
        digests += b"".join([digest(_name(raw, rows, row)) for row in range(len(rows.at))])
        count = filled.stop
    if not count:
        raise ArchiveError(f"{reader.uri} is an empty ZIP: there is nothing in it to work on")
    del records
    at, start, size, stored, claim = (column[:count] for column in (at, start, size, stored, claim))
    claim += start + _LOCAL.size
    claim += stored
    # a damaged length that cannot be true must not take the members behind it along
    credible = (stored <= size + size // 8 + 1024) & (claim <= end.start)
    overlaps = _overlaps(start, np.where(credible, claim, start))
    oversize = np.maximum(size, stored) > limits.member_bytes
    del size, stored, credible
    # only the local header knows how long its own extra field is: up to 64 KiB
    stop = np.minimum(claim + 0xFFFF, _next(start[~overlaps], start, end.start))
    outside = (start < 0) | (stop <= start)
    return _Plan(
        raw=raw,
        shift=end.shift,
        at=at,
        start=start,
        stop=stop,
        unread=oversize | overlaps | outside,
        overlaps=overlaps,
        again=repeats(digests),
    )


def _overlaps(start: Column, claim: Column) -> npt.NDArray[np.bool_]:
    """Marks members that begin before the claim of one that begins earlier has ended."""
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


def _chunk(plan: _Plan, number: int, first: int, last: int, budget: int) -> Chunk:
    rows = slice(first, last)
    wanted = ~plan.unread[rows]
    spans = _spans(plan.start[rows][wanted], plan.stop[rows][wanted], budget // 4)
    until = int(plan.at[last]) if last < len(plan.at) else len(plan.raw)
    return Chunk(
        number=number,
        first=first,
        count=last - first,
        start=spans[0][0] if spans else 0,
        end=spans[-1][1] if spans else 0,
        directory=_pack(
            plan.shift,
            spans,
            np.flatnonzero(plan.overlaps[rows]),
            plan.raw[int(plan.at[first]) : until],
        ),
        duplicates=frozenset((first + np.flatnonzero(plan.again[rows])).tolist()),
    )


def _spans(start: Column, stop: Column, waste: int) -> list[tuple[int, int]]:
    """Joins ranges across small gaps, reading at most `waste` bytes in vain."""
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


def _pieces(
    places: list[int], heads: list[int], spans: list[tuple[int, int]], most: int
) -> list[_Piece]:
    """Cuts what members are read with into pieces, in the members' order.

    Args:
        places: where the members begin, one after the other.
        heads: where anything begins, sorted: no member reaches past the next.
        spans: the ranges that may be read, sorted.
        most: bytes in a piece; a larger member has its own. One in no span has an empty one.
    """
    pieces: list[_Piece] = []
    last = -1  # number of the last piece's span
    for place in places:
        number = bisect_right(spans, place, key=itemgetter(0)) - 1
        following = bisect_right(heads, place)
        until = spans[number][1] if number >= 0 else place
        end = max(place, min([until, *heads[following : following + 1]]))
        if pieces and number == last and pieces[-1].end <= place < end <= pieces[-1].start + most:
            pieces[-1] = _Piece(pieces[-1].start, end, pieces[-1].members + 1)
        else:
            pieces.append(_Piece(place, end, 1))
        last = number
    return pieces


def _pack(shift: int, spans: list[tuple[int, int]], overlaps: Column, raw: Octets) -> bytes:
    """What `read` needs beside the byte range, so that a chunk can be read on another machine."""
    numbers = [bound for span in spans for bound in span] + overlaps.tolist()
    head = struct.pack("<qII", shift, len(spans), len(overlaps))
    return head + struct.pack(f"<{len(numbers)}q", *numbers) + raw


def _unpack(directory: bytes) -> tuple[int, list[tuple[int, int]], frozenset[int], bytes]:
    shift, spans, overlaps = struct.unpack_from("<qII", directory)
    numbers = struct.unpack_from(f"<{2 * spans + overlaps}q", directory, 16)
    bounds = numbers[: 2 * spans]
    return (
        shift,
        list(zip(bounds[::2], bounds[1::2], strict=True)),
        frozenset(numbers[2 * spans :]),
        directory[16 + 8 * len(numbers) :],
    )


def _name(raw: Octets, rows: Columns, row: int) -> str:
    at = int(rows.at[row]) + 46
    end = at + int(rows.name[row])
    return decode_name(raw[at:end], raw[end : end + int(rows.extra[row])])


def _link_or_special(rows: Columns, row: int) -> SkipReason | None:
    if int(rows.made_by[row]) >> 8 not in _UNIX_HOSTS:
        return None
    kind = int(rows.external[row]) >> 28  # the file type bits of st_mode
    if kind == 0o12:
        return SkipReason.LINK
    return SkipReason.SPECIAL_FILE if kind in (0o1, 0o2, 0o6, 0o14) else None


def _refusal(
    rows: Columns, row: int, name: str, overlaps: bool, limits: Limits
) -> SkipReason | MemberError | None:
    """Why a member's data is not read, as far as the directory alone shows."""
    if (reason := _link_or_special(rows, row) or skip_reason(name)) is not None:
        return reason
    if (why := unsafe(name)) is not None:
        return MemberError(MemberErrorCode.UNSAFE_NAME, f"the name is refused: {why}")
    if overlaps:
        return _nonsense("it claims bytes of the archive that another member has already")
    flags, method = int(rows.flags[row]), int(rows.method[row])
    size = max(int(rows.size[row]), int(rows.stored[row]))
    if size > limits.member_bytes:
        return too_large(size, limits.member_bytes)
    if flags & 0x2041 or method == 99:  # bits 0, 6 and 13: encrypted, strongly, with its directory
        return MemberError(
            MemberErrorCode.ENCRYPTED, "it is encrypted; unpack it with its password first"
        )
    if method not in (_STORED, _DEFLATED):
        label = _METHODS.get(method, "unknown")
        return MemberError(
            MemberErrorCode.UNSUPPORTED_COMPRESSION,
            f"it is compressed with {label} (method {method}); repack it with store or deflate",
        )
    if flags & 0x20:
        return MemberError(
            MemberErrorCode.UNSUPPORTED_COMPRESSION, "it is a patch, not a whole file"
        )
    return None


def _content(view: memoryview, rows: Columns, row: int) -> bytes | memoryview:
    """Checks the local header at the start of `view` and returns the member's content."""
    if len(view) < _LOCAL.size or bytes(view[:4]) != b"PK\3\4":
        raise _nonsense("there is no header where the directory says that it begins")
    _, _, flags, method, _, _, _, _, _, name, extra = _LOCAL.unpack_from(view)
    if flags & 1:
        raise MemberError(
            MemberErrorCode.ENCRYPTED, "it is encrypted; unpack it with its password first"
        )
    if method != rows.method[row]:
        raise _nonsense("its header and the directory disagree on the compression")
    stored, size = int(rows.stored[row]), int(rows.size[row])
    begin = _LOCAL.size + name + extra
    raw = view[begin : begin + stored]
    if len(raw) < stored:
        raise _nonsense("its data runs into what follows it in the archive")
    data = raw if method == _STORED else _inflate(raw, size)
    if len(data) != size:
        relation = "more than" if len(data) > size else f"{len(data)} instead of"
        raise MemberError(
            MemberErrorCode.SIZE_MISMATCH, f"it has {relation} the {size} bytes it declares"
        )
    if isal_zlib.crc32(data) != rows.crc[row]:
        raise MemberError(
            MemberErrorCode.CRC_MISMATCH, "its content does not match its checksum: it is damaged"
        )
    return data


def _inflate(raw: memoryview, size: int) -> bytes:
    """Inflates to at most one byte more than declared, which is enough to see a lie."""
    inflater = zlib.decompressobj(-15)
    try:
        data = inflater.decompress(raw, size + 1)
    except zlib.error as error:
        raise _nonsense(f"its compressed data is damaged ({error})") from error
    if not inflater.eof and len(data) <= size:
        raise _nonsense("its compressed data ends too early")
    return data


def _nonsense(what: str) -> MemberError:
    return MemberError(MemberErrorCode.CORRUPT_ENTRY, what)

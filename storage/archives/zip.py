"""ZIP archives, read by range, a piece at a time."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice, starmap
from operator import itemgetter
from typing import NamedTuple

from storage.archives.ahead import read_ahead
from storage.archives.members import Chunk, ChunkSize, Entry, Inner, Limits, Listed, doubts
from storage.archives.spelling import AUTO, chosen, note
from storage.archives.zipdirectory import Columns, columns, member_name, walk
from storage.archives.zipinner import find_inner
from storage.archives.zipmember import LOCAL, content, refusal
from storage.archives.zipplan import LAST, Told, ZipPlan, plan_zip
from storage.errors import ArchiveError, MemberError, SkipReason, TransientError, unreadable
from storage.fs.location import RangeReader

_PIECE = 1 << 22  # bytes
REMOTE_PIECE = 1 << 24  # bytes; several times as many at once cost the client twice the CPU each
_AHEAD = 1 << 26  # bytes
_AT_ONCE = 8  # pieces, over all chunks in flight


class _Piece(NamedTuple):
    """A range that is read at once, and how many members it holds."""

    start: int
    end: int
    members: int


class ZipArchive:
    """A ZIP file (zip64 too); see `storage.archives.members.Archive`.

    The directory is read at the first call of `members` or `chunks`; `read` needs the chunk alone.
    """

    kind = "zip"
    share_read = 0.0
    piecemeal = True

    def __init__(self, reader: RangeReader, limits: Limits, names: str = AUTO) -> None:
        self.uri = reader.uri
        self.fingerprint = reader.fingerprint
        self._reader = reader
        self._limits = limits
        self._chosen = chosen(names, LAST)
        self._ahead = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="read-ahead")
        self._lock = threading.Lock()
        self._planned: ZipPlan | None = None

    @property
    def members(self) -> int:
        """Members in the archive."""
        return len(self._plan().at)

    @property
    def names(self) -> str:
        """How its names are read; see `storage.archives.members.Archive.names`."""
        return str(self._plan().spelling)

    @property
    def notes(self) -> list[str]:
        """What a person should know of it; see `storage.archives.members.Archive.notes`."""
        return note(self._plan().spelling)

    def chunks(self, size: ChunkSize) -> Iterator[Chunk]:
        """Cut the archive in directory order; see `storage.archives.members.Archive.chunks`."""
        return self._plan().chunks(size)

    def listed(self) -> Iterator[Listed]:
        """Give each row of the directory; see `storage.archives.members.Archive.listed`."""
        return self._plan().listed()

    def picked(self, indexes: Sequence[int]) -> Iterator[Chunk]:
        """Give some members alone; see `storage.archives.members.Archive.picked`."""
        return self._plan().picked(indexes)

    def nested(self) -> Iterator[Chunk]:
        """Give the archives among the members; see `storage.archives.members.Archive.nested`."""
        plan = self._plan()
        return plan.picked(plan.nested.tolist())

    def inner(self, chunk: Chunk) -> Inner | None:
        """Find an archive among the members; see `storage.archives.members.Archive.inner`."""
        told = Told.decode(chunk.directory)
        rows = columns(told.records, walk(told.records)[0])
        name = member_name(told.records, rows, 0, told.spelling)
        limits = self._limits
        return find_inner(self._reader, told.shift, rows, name, limits, bool(told.overlaps))

    def read(self, chunk: Chunk, *, last_try: bool = False) -> Iterator[Entry]:
        """Read a chunk piece by piece and yield its members; see `members.Archive.read`.

        Stored members are views of the piece that was read: keep one, and it keeps the piece.
        """
        told = Told.decode(chunk.directory)
        raw, overlaps = told.records, told.overlaps
        rows = columns(raw, walk(raw)[0])
        if len(rows.at) != chunk.count:
            raise ArchiveError(f"{self.uri}: chunk {chunk.number} belongs to another archive")
        places = (told.shift + rows.offset).tolist()
        names = [member_name(raw, rows, row, told.spelling) for row in range(chunk.count)]
        refused = [
            refusal(rows, row, name, row in overlaps, self._limits)
            for row, name in enumerate(names)
        ]
        wanted = [place for place, why in zip(places, refused, strict=True) if why is None]
        heads = sorted(place for row, place in enumerate(places) if row not in overlaps)
        most = _PIECE if self._reader.location.is_local else REMOTE_PIECE
        contents = self._from_places(wanted, _pieces(wanted, heads, told.spans, most), last_try)
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
                yield Entry(index, name, size, data=data, warnings=doubts(name))

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
        for data, piece in zip(contents, pieces, strict=True):
            for place in islice(waiting, piece.members):
                yield data if isinstance(data, MemberError) else data[place - piece.start :]

    def _checked(
        self,
        view: memoryview | MemberError,
        rows: Columns,
        row: int,
        start: int,
        last_try: bool,
    ) -> bytes | memoryview:
        """A member's content, which is read a second time before it counts as damaged.

        A store, or what stands before it, may answer with other bytes than it was asked for, and
        only the checksum tells.
        """
        if isinstance(view, MemberError):
            raise view
        try:
            return content(view, rows, row)
        except MemberError:
            if self._reader.location.is_local:
                raise
            most = LOCAL.size + 2 * 0xFFFF + int(rows.stored[row])
            again = self._piece(start, start + min(len(view), most), last_try)
            if isinstance(again, MemberError):
                raise
            return content(again, rows, row)

    def _piece(self, start: int, end: int, last_try: bool) -> memoryview | MemberError:
        """The bytes of a range; on the last try the error that its members then have."""
        try:
            return memoryview(self._reader.read(start, end))
        except TransientError as error:
            if not last_try:
                raise
            return unreadable(error)

    def _plan(self) -> ZipPlan:
        with self._lock:
            if self._planned is None:
                self._planned = plan_zip(self._reader, self._limits, self._chosen)
            return self._planned


def _pieces(
    places: list[int], heads: list[int], spans: list[tuple[int, int]], most: int
) -> list[_Piece]:
    """Cut what members are read with into pieces, in the members' order.

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

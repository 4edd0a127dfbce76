"""A folder or list that a batch knows already: what it has keeps its place, what is new follows.

The batch's lots say which files it has, in which order. The listing of today says where they are,
what has become of them, and what else there is.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from storage.archives.files import Row
from storage.archives.listing import Listing, resized
from storage.archives.members import Archive, Chunk, ChunkSize, Entry, Inner, Listed
from storage.archives.naming import Names
from storage.archives.nested import NestedArchive
from storage.errors import MemberError, MemberErrorCode, OutputError, too_many
from storage.fs.fingerprint import Fingerprint
from storage.fs.location import Location
from storage.output.changes import Change, Changed
from storage.output.lots import UNKNOWN, Files, Lot
from storage.output.names import nests
from storage.output.tombs import is_marked, unmarked


@dataclass(frozen=True, slots=True)
class Comparison:
    """A listing of today beside what a batch has.

    Attributes:
        new: places in the listing of files that the batch does not have, in their order.
        changes: what became of those that it has.
    """

    new: list[int]
    changes: list[Changed]


def listing_of(archive: Archive) -> Listing | None:
    """The folder or list that an archive is; None where it is a file, which does not grow."""
    outer = archive.outer if isinstance(archive, NestedArchive) else archive
    return outer if isinstance(outer, Listing) else None


def files_of(archive: Archive, *, counted: bool) -> Files:
    """What lies in a folder or list by now.

    Args:
        archive: one of those.
        counted: whether to tell how many members each archive in it has: for that they are opened.
    """
    listing = listing_of(archive)
    assert listing is not None
    rows = listing.rows()
    members = [1] * len(rows)
    if counted and isinstance(archive, NestedArchive):
        for place, count in archive.counts().items():
            members[place] = count
    paths = [listing.shown(row.name) for row in rows]
    sizes = [row.size for row in rows]
    return Files(paths, sizes, listing.versions(), members, archive.fingerprint)


def files_of_members(
    members: Iterable[tuple[str, int]], archive: Archive, fingerprint: Fingerprint
) -> Files:
    """The files of a batch by its members, where an older Facecrop has not recorded them.

    Args:
        members: path and bytes of each, in their order.
        archive: the folder or list, as it is by now: it tells which names are those of archives.
        fingerprint: of what was listed then.
    """
    listing = listing_of(archive)
    assert listing is not None
    archives: set[str] = set()
    if isinstance(archive, NestedArchive):
        archives = {name for row in listing.rows() if nests(name := listing.shown(row.name))}
    paths: list[str] = []
    sizes: list[int] = []
    counts: list[int] = []
    for path, size in members:
        steps = path.split("/")
        outer = ("/".join(steps[:depth]) for depth in range(1, len(steps)))
        opened = next((one for one in outer if one in archives), None) if archives else None
        if opened is not None and paths and paths[-1] == opened:
            counts[-1] += 1
            continue
        paths.append(opened or path)
        sizes.append(UNKNOWN if opened or archive.kind == "list" else size)
        counts.append(1)
    return Files(paths, sizes, [""] * len(paths), counts, fingerprint)


def compare(lots: Sequence[Lot], files: Files) -> Comparison:
    """Tell what is new in a listing, and what of a batch's files is gone or another one.

    Of several files with one path, as a list may have, as many as the batch has are known.
    """
    places, changes = _Places(files.paths), []
    for lot in lots:
        known, member = lot.files, lot.first
        paths = unmarked(known.paths, lambda: files.paths)
        columns = (known.paths, paths, known.sizes, known.versions, known.members)
        for kept, path, size, version, count in zip(*columns, strict=True):
            place = places.take(path)
            if is_marked(kept):  # it was forgotten: nothing is told of it any more
                member += count
                continue
            bytes_then = None if size == UNKNOWN else size
            if place is None:
                changes.append(Changed(member, path, Change.GONE, bytes_then, None))
            elif _differ(size, files.sizes[place], UNKNOWN) or _differ(
                version, files.versions[place], ""
            ):
                now = files.sizes[place]
                changes.append(Changed(member, path, Change.CHANGED, bytes_then, now))
            member += count
    return Comparison(places.left(), changes)


def new_lot(archive: Archive, lots: Sequence[Lot], chunks: int, new: Sequence[int]) -> Lot:
    """The lot of what is new in a listing; archives in it are opened to count their members.

    Args:
        archive: the folder or list.
        lots: those before.
        chunks: how many the batch has so far.
        new: places of the files.
    """
    all_files = files_of(archive, counted=False)
    rows = _rows_of(archive)
    piece = Piece(archive, [rows[place] for place in new], _paths(lots))
    counted = files_of(_nested_like(archive, piece), counted=True)
    versions = [all_files.versions[place] for place in new]
    files = replace(counted, versions=versions, fingerprint=archive.fingerprint)
    lot = Lot(files, lots[-1].last, chunks)
    if lot.last > piece.limits.members:
        raise too_many(archive.uri, piece.limits.members)
    return lot


class Piece(Listing):
    """Some files of a folder or list, behind others of the same batch.

    Args:
        whole: all of it.
        rows: the files.
        before: paths of those before.
    """

    def __init__(self, whole: Archive, rows: list[Row], before: Sequence[str]) -> None:
        listing = listing_of(whole)
        assert listing is not None
        super().__init__(listing.limits)
        self.kind, self.uri, self.fingerprint = whole.kind, whole.uri, whole.fingerprint
        self._whole = listing
        self._known = rows
        self._before = before

    def locate(self, name: str) -> Location:
        """See `Listing.locate`."""
        return self._whole.locate(name)

    def shown(self, name: str) -> str:
        """See `Listing.shown`."""
        return self._whole.shown(name)

    def _names(self) -> Names:
        names = Names(opens=self.limits.nested > 0, before=self._before)
        names.add([self.shown(row.name) for row in self.rows()])
        return names


class GrownArchive:
    """The files of a batch's last lots; see `storage.archives.members.Archive`.

    Args:
        whole: the folder or list, as it is by now.
        lots: all of the batch's.
        settled: how many of them are done and left out: none of their files is asked for.
    """

    share_read = 0.0
    piecemeal = True

    def __init__(self, whole: Archive, lots: Sequence[Lot], settled: int = 0) -> None:
        self.uri, self.kind, self.fingerprint = whole.uri, whole.kind, whole.fingerprint
        self.names = whole.names
        self._whole = whole
        self._lots = lots[settled:]
        rows, listing = _rows_of(whole), listing_of(whole)
        assert listing is not None
        today = [listing.shown(row.name) for row in rows]
        places = _Places(today)
        before = unmarked(_paths(lots[:settled]), lambda: today)
        for path in before:
            places.take(path)
        self._pieces: list[Archive] = []
        for lot in self._lots:
            known = []
            paths = unmarked(lot.files.paths, lambda: today)
            for path, size in zip(paths, lot.files.sizes, strict=True):
                place = places.take(path)
                known.append(_row(path, size, None if place is None else rows[place]))
            self._pieces.append(_nested_like(whole, Piece(whole, known, list(before))))
            before += paths

    @property
    def notes(self) -> list[str]:
        """Those of the archives in it."""
        return [line for piece in self._pieces for line in piece.notes]

    @property
    def members(self) -> int:
        """Members of these lots."""
        return sum(lot.last - lot.first for lot in self._lots)

    def chunks(self, size: ChunkSize) -> Iterator[Chunk]:
        """Cut each lot by itself, as it was the first time.

        Raises:
            OutputError: an archive among the files is not what it was, and nobody knows any more
                which members it had.
        """
        for lot, piece in zip(self._lots, self._pieces, strict=True):
            if piece.members != lot.last - lot.first:
                raise OutputError(
                    f"{self.uri} holds archives that were changed or removed before all of their "
                    "photographs were cropped. Put them back, or crop it into another output."
                )
            for chunk in piece.chunks(size):
                yield replace(
                    chunk,
                    number=lot.chunk + chunk.number,
                    first=lot.first + chunk.first,
                    duplicates=frozenset(lot.first + one for one in chunk.duplicates),
                )

    def read(self, chunk: Chunk, *, last_try: bool = False) -> Iterator[Entry]:
        """See `storage.archives.members.Archive.read`."""
        return self._whole.read(chunk, last_try=last_try)

    def listed(self) -> Iterator[Listed]:
        """See `storage.archives.members.Archive.listed`."""
        for piece in self._pieces:
            yield from piece.listed()

    def picked(self, indexes: Sequence[int]) -> Iterator[Chunk]:
        """Give some members alone; see `storage.archives.members.Archive.picked`."""
        begin = [lot.first for lot in self._lots]
        for index in indexes:
            place = bisect_right(begin, index) - 1
            first = begin[place]
            [chunk] = self._pieces[place].picked([index - first])
            again = frozenset([index] if chunk.duplicates else [])
            yield replace(chunk, first=index, duplicates=again)

    def nested(self) -> Iterator[Chunk]:
        """Nothing: all that may be opened is."""
        return iter(())

    def inner(self, chunk: Chunk) -> Inner | None:
        """Nothing: all that may be opened is."""
        return None


class _Places:
    """Where each path of a listing is; of several with one path, the first that is left."""

    def __init__(self, paths: Sequence[str]) -> None:
        self._first: dict[str, int] = {}
        self._more: defaultdict[str, deque[int]] = defaultdict(deque)
        for place, path in enumerate(paths):
            if self._first.setdefault(path, place) != place:
                self._more[path].append(place)

    def take(self, path: str) -> int | None:
        """A place with this path that was not taken before."""
        place = self._first.pop(path, None)
        if self._more.get(path):
            self._first[path] = self._more[path].popleft()
        return place

    def left(self) -> list[int]:
        """The places that nobody took, in their order."""
        return sorted(
            [*self._first.values(), *(one for some in self._more.values() for one in some)]
        )


def _rows_of(archive: Archive) -> list[Row]:
    listing = listing_of(archive)
    assert listing is not None
    return listing.rows()


def _nested_like(whole: Archive, piece: Piece) -> Archive:
    return NestedArchive(piece, piece.limits) if isinstance(whole, NestedArchive) else piece


def _paths(lots: Sequence[Lot]) -> list[str]:
    return [path for lot in lots for path in lot.files.paths]


def _differ(then: object, now: object, unknown: object) -> bool:
    return unknown not in (then, now) and then != now


def _row(path: str, size: int, now: Row | None) -> Row:
    """A file that a batch has, as it is to be read: with the size by which the batch was cut."""
    if now is None:
        gone = (MemberErrorCode.MISSING, "it is gone from where the batch was made of")
        return Row(path, size, error=gone)
    if _differ(size, now.size, UNKNOWN) and now.error is None:
        mismatch: MemberError = resized(size)
        return Row(now.name, size, now.skip, (mismatch.code, str(mismatch)))
    return Row(now.name, size, now.skip, now.error)

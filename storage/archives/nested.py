"""Archives that are members of an archive, opened: their members take their place.

A chunk that lies in one says in front of its `directory` where that archive is found: the outer
archive's own chunk of that one member. So it can be read on another machine like any other, and an
archive in an archive in an archive has one such layer in front of another.
"""

from __future__ import annotations

import base64
import threading
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

from storage.archives.expand import METHODS, expanded
from storage.archives.innerfile import bounded, kind_of
from storage.archives.layers import Opened, entry_alone, pack, row_alone, unpack
from storage.archives.members import Archive, Chunk, ChunkSize, Entry, Inner, Limits, Listed, doubts
from storage.archives.ranges import Copies
from storage.archives.tar import TarArchive
from storage.archives.zip import ZipArchive
from storage.errors import (
    ArchiveError,
    EmptyError,
    MemberError,
    MemberErrorCode,
    SkipReason,
    TooManyError,
    TransientError,
    too_many,
    unreadable,
)
from storage.fs.fingerprint import Fingerprint
from storage.fs.location import RangeReader
from storage.output.names import shortened

# What photographs are packed in is never packed this densely again; a bomb is.
_DENSEST, _SMALL = 100, 16 << 20
_WHOLE = 64 << 20  # bytes in a chunk of an inner archive that is read a chunk at a time
_NOTES = 20  # lines that are told of all inner archives
_ONE_BY_ONE = ("folder", "list")  # where one file says nothing about the others


@dataclass(slots=True)
class _Budget:
    """Bytes that may still be copied of one member of the outermost archive, at all levels."""

    left: int


class NestedArchive:
    """An archive with the archives in it opened, `limits.nested` levels down.

    See `storage.archives.members.Archive`. Inner archives that lie as they are, stored in a ZIP, in
    a TAR or a folder, are read where they lie. Compressed ones are copied to a temporary file when
    their members are planned, and again when they are read.

    Args:
        outer: the archive.
        limits: what readers never go beyond, all inner archives taken together.
        copies, budget: of the archive that this one lies in, if it lies in one.
    """

    def __init__(
        self,
        outer: Archive,
        limits: Limits,
        copies: Copies | None = None,
        budget: _Budget | None = None,
    ) -> None:
        self.outer = outer
        self.uri = outer.uri
        self.kind = outer.kind
        self._limits = limits
        self._budget = budget
        self._copies = copies or Copies()
        self._lock = threading.Lock()
        self._planned: dict[int, Opened] | None = None
        self._notes: list[str] = []

    @property
    def fingerprint(self) -> Fingerprint:
        """The outer archive's."""
        return self.outer.fingerprint

    @property
    def piecemeal(self) -> bool:
        """The outer archive's."""
        return self.outer.piecemeal

    @property
    def share_read(self) -> float:
        """The outer archive's."""
        return self.outer.share_read

    @property
    def names(self) -> str:
        """The outer archive's; those of inner archives are read as `limits` says."""
        return self.outer.names

    @property
    def notes(self) -> list[str]:
        """Those of all archives, as far as they are known by now."""
        more = len(self._notes) - _NOTES
        kept = self._notes[:_NOTES] + ([f"(and {more} more such lines)"] if more > 0 else [])
        return self.outer.notes + kept

    @property
    def members(self) -> int | None:
        """Members of all archives, those that are opened themselves left out."""
        outer = self.outer.members
        if outer is None:
            return None
        return outer + sum(one.members - 1 for one in self._plan().values())

    def counts(self) -> dict[int, int]:
        """How many members each archive in it has that is opened, by its index in the outer one."""
        return {index: opened.members for index, opened in self._plan().items()}

    def chunks(self, size: ChunkSize) -> Iterator[Chunk]:
        """Cut all archives in their order; see `storage.archives.members.Archive.chunks`."""
        number = first = 0
        for outer in self.outer.chunks(size):
            for chunk in self._within(outer, first, size) if outer.nested else (outer,):
                moved = first - chunk.first
                yield replace(
                    chunk,
                    number=number,
                    first=first,
                    duplicates=frozenset(index + moved for index in chunk.duplicates),
                    nested=False,
                )
                number, first = number + 1, first + chunk.count
        if first > self._limits.members:
            raise too_many(self.uri, self._limits.members)

    def read(self, chunk: Chunk, *, last_try: bool = False) -> Iterator[Entry]:
        """Read a chunk of whichever archive; see `storage.archives.members.Archive.read`."""
        found = unpack(chunk.directory)
        if found is None:
            yield from self.outer.read(chunk, last_try=last_try)
            return
        layer, directory = found
        name, following = str(layer["name"]), chunk.first
        if (row := layer.get("row")) is not None:
            yield entry_alone(chunk.first, name, row)
            return
        try:
            archive = self._found(layer, chunk.data)
            inner = replace(chunk, directory=directory, data=None)
            for entry in archive.read(inner, last_try=last_try):
                yield self._below(name, entry)
                following = entry.index + 1
        except MemberError as damage:
            error = damage
        except TransientError as failure:
            if not last_try:
                raise
            error = unreadable(failure)
        except ArchiveError as failure:
            if self.kind not in _ONE_BY_ONE:
                raise
            error = MemberError(MemberErrorCode.UNREADABLE, str(failure))
        for index in range(following, chunk.first + chunk.count):
            yield Entry(index, shortened(f"{name}/(member {index})"), 0, error=error)

    def _below(self, name: str, entry: Entry) -> Entry:
        """A member of an inner archive as one of this."""
        path, warnings = shortened(f"{name}/{entry.name}"), entry.warnings
        if entry.data is not None and self.kind not in _ONE_BY_ONE:
            warnings = tuple(dict.fromkeys([*warnings, *doubts(path)]))
        return replace(entry, name=path, warnings=warnings)

    def listed(self) -> Iterator[Listed]:
        """Give the members of all archives; see `storage.archives.members.Archive.listed`."""
        opened = self._plan() if self.outer.members is not None else {}
        for index, row in enumerate(self.outer.listed()):
            found = opened.get(index)
            if found is None or found.archive is None:
                yield row
                continue
            for one in found.archive.listed():
                yield one._replace(name=shortened(f"{found.layer['name']}/{one.name}"))

    def picked(self, indexes: Sequence[int]) -> Iterator[Chunk]:
        """Give some members of all archives; see `storage.archives.members.Archive.picked`."""
        if self.outer.members is None:
            return
        opened = sorted(self._plan().items())
        more = accumulate((one.members - 1 for _, one in opened), initial=0)
        # where the members of each inner archive begin among those of all
        begin = [at + before for (at, _), before in zip(opened, more, strict=False)]

        def found(index: int) -> tuple[int, Opened | None, int]:
            """The outer member, what it is if it is an archive, and the member's place in that."""
            last = bisect_right(begin, index) - 1
            if last < 0:
                return index, None, 0
            at, inner = opened[last]
            place = index - begin[last]
            if place < inner.members:
                return at, inner, place
            return at + 1 + place - inner.members, None, 0

        all_found = [found(index) for index in indexes]
        outers = self.outer.picked([at for at, _, _ in all_found])
        for index, outer, (_, inner, place) in zip(indexes, outers, all_found, strict=True):
            chunk = outer if inner is None else self._picked_in(inner, outer, place)
            again = frozenset([index] if chunk.duplicates else [])
            yield replace(chunk, number=0, first=index, duplicates=again)

    def _picked_in(self, opened: Opened, outer: Chunk, place: int) -> Chunk:
        """One member of an inner archive, or the row that stands for that."""
        if opened.archive is None:
            return replace(outer, directory=pack(opened.layer, b""))
        [chunk] = opened.archive.picked([place])
        again = outer.duplicates or chunk.duplicates
        return replace(chunk, directory=pack(opened.layer, chunk.directory), duplicates=again)

    def nested(self) -> Iterator[Chunk]:
        """Nothing: all that may be opened is."""
        return iter(())

    def inner(self, chunk: Chunk) -> Inner | None:
        """Nothing: all that may be opened is."""
        return None

    def _plan(self) -> dict[int, Opened]:
        """What the inner archives are, by their index in the outer one."""
        with self._lock:
            if self._planned is None:
                planned, members = {}, self.outer.members or 0
                for chunk in self.outer.nested():
                    opened = self._open(chunk, self._limits.members - members)
                    if opened is not None:
                        planned[chunk.first] = opened
                        members += opened.members - 1
                self._planned = planned
            return self._planned

    def _within(self, outer: Chunk, first: int, size: ChunkSize) -> Iterator[Chunk]:
        """The chunks of the archive that is the member of a chunk, or that chunk itself.

        Args:
            outer: the chunk.
            first: how many members there are before it.
            size: of chunks.
        """
        if self.outer.members is None:
            opened = self._open(outer, self._limits.members - first)
        else:
            opened = self._plan().get(outer.first)
        if opened is None:
            yield outer
        elif opened.archive is None:
            yield replace(outer, directory=pack(opened.layer, b""), data=None)
        else:
            if not opened.archive.piecemeal:
                size = ChunkSize(size.members, min(size.bytes, _WHOLE))
            for chunk in opened.archive.chunks(size):
                everyone = range(chunk.first, chunk.first + chunk.count)
                yield replace(
                    chunk,
                    directory=pack(opened.layer, chunk.directory),
                    data=outer.data,
                    duplicates=frozenset(everyone) if outer.duplicates else chunk.duplicates,
                )

    def _open(self, outer: Chunk, room: int) -> Opened | None:
        """Open the archive that is the member of a chunk; None where it is to be skipped.

        Args:
            outer: the chunk.
            room: the most members that it may have.

        Raises:
            TransientError: storage failed.
        """
        inner = self.outer.inner(outer)
        if inner is None:
            return None
        layer = {
            "name": inner.name,
            "start": outer.start,
            "end": outer.end,
            "directory": base64.b64encode(outer.directory).decode(),
        }
        try:
            most = min(self._limits.nested_bytes, inner.stored * _DENSEST + _SMALL)
            budget = self._budget or _Budget(most)
            layer["most"] = min(most, budget.left)
            reader = self._content(inner, layer, budget)
            layer["kind"] = kind_of(reader)
            archive = self._reader_of(reader, layer, budget, room)
            members = archive.members or 0
            self._notes += (f"{inner.name}: {line}" for line in archive.notes)
            return Opened(layer, archive, members)
        except EmptyError:
            return row_alone(inner, SkipReason.EMPTY_ARCHIVE)
        except TooManyError as error:
            return row_alone(inner, MemberError(MemberErrorCode.TOO_LARGE, str(error)))
        except ArchiveError as error:
            return row_alone(inner, MemberError(MemberErrorCode.CORRUPT_ENTRY, str(error)))
        except MemberError as error:
            return row_alone(inner, error)
        except TransientError as error:
            if self.kind != "list":  # whose servers have nothing to do with one another
                raise
            return row_alone(inner, unreadable(error))

    def _found(self, layer: dict[str, Any], data: bytes | None) -> Archive:
        """An inner archive again, for reading what is known of it: no index is read."""
        directory = base64.b64decode(layer["directory"])
        outer = Chunk(0, 0, 1, layer["start"], layer["end"], directory, data)
        inner = self.outer.inner(outer)
        if inner is None:
            raise ArchiveError(f"{self.uri}: a chunk belongs to another archive")
        budget = _Budget(0)  # it was kept when this was planned
        reader = self._content(inner, layer, budget)
        return self._reader_of(reader, layer, budget, self._limits.members)

    def _content(self, inner: Inner, layer: dict[str, Any], budget: _Budget) -> RangeReader:
        """The file that an inner archive is, to be read by range."""
        if inner.error is not None:
            raise inner.error
        if inner.reader is not None:
            try:
                inner.reader.read(0, min(1, inner.reader.size))
            except ArchiveError as error:
                if self.kind not in _ONE_BY_ONE:
                    raise
                raise MemberError(MemberErrorCode.UNREADABLE, str(error)) from error
            return inner.reader
        assert inner.pieces is not None
        return self._copy(layer, "", inner.pieces, budget)

    def _reader_of(
        self, reader: RangeReader, layer: dict[str, Any], budget: _Budget, room: int
    ) -> Archive:
        limits = replace(self._limits, members=room, nested=self._limits.nested - 1)
        kind = layer["kind"]
        archive: Archive
        if kind == "zip":
            archive = ZipArchive(reader, limits, limits.names)
        elif kind == "tar":
            archive = TarArchive(reader, limits, limits.names)
        else:
            packed, method = reader, next(one for one in METHODS if one.name == kind)

            def pieces() -> Iterator[bytes]:
                return expanded(packed, method, lambda _: None)

            archive = TarArchive(self._copy(layer, kind, pieces, budget), limits, limits.names)
        return NestedArchive(archive, limits, self._copies, budget) if limits.nested else archive

    def _copy(
        self,
        layer: dict[str, Any],
        stage: str,
        pieces: Callable[[], Iterator[bytes]],
        budget: _Budget,
    ) -> RangeReader:
        most = int(layer["most"])
        place = f"{self.uri}\0{layer['start']}\0{layer['end']}\0{layer['directory']}\0"
        key = f"{place}{stage}".encode(errors="surrogatepass")
        copy = self._copies.get(key, layer["name"], lambda: bounded(pieces(), most))
        budget.left = max(0, budget.left - copy.size)
        return copy

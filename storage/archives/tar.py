"""Plain TAR archives, read by range."""

from __future__ import annotations

import threading
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from storage.archives.cutting import Column, Marks, alone, cut
from storage.archives.members import Chunk, ChunkSize, Entry, Inner, Limits, Listed
from storage.archives.naming import Names
from storage.archives.ranges import Part
from storage.archives.spelling import AUTO, Sample, Spelling, chosen, note
from storage.archives.tarchunks import LAST, Faults, Told, damages, empty, entries, inner, is_kept
from storage.archives.tarheaders import Kind, Member, cut_short, scan
from storage.archives.tarsources import REMOTE_BLOCK, Window
from storage.errors import TransientError, too_many, unreadable
from storage.fs.location import RangeReader

_LOCAL_BLOCK = 16 << 10  # enough for a header and the small members behind it; seeks are free


@dataclass(frozen=True, slots=True)
class _Index:
    """Of each member where its headers begin, its range ends, and whether its crop name is taken.

    Attributes:
        breaks: indexes of the members that follow one whose content is not read.
        nested: indexes of the members that are archives themselves.
        spelling: how names are read.
        faults: of each damaged member, by its index, the name and what is wrong.
    """

    begin: Column
    end: Column
    breaks: Column
    again: Marks
    nested: Column
    spelling: Spelling
    faults: Faults

    def filled(self, chunk: Chunk) -> Chunk:
        """The chunk with what `read` needs."""
        start, end = int(self.begin[chunk.first]), int(self.end[chunk.last])
        inside = range(chunk.first, chunk.last + 1) if self.faults else ()
        faults = {at - chunk.first: self.faults[at] for at in inside if at in self.faults}
        told = Told(str(self.spelling), faults)
        return replace(chunk, start=start, end=end, directory=told.encode())


class TarArchive:
    """A plain TAR; see `storage.archives.members.Archive`.

    The headers are walked once, at the first call of `members` or `chunks`. A chunk's range holds
    the headers of its members, so `read` needs the chunk alone.
    """

    kind = "tar"
    share_read = 0.0
    piecemeal = False

    def __init__(self, reader: RangeReader, limits: Limits, names: str = AUTO) -> None:
        self.uri = reader.uri
        self.fingerprint = reader.fingerprint
        self._reader = reader
        self._limits = limits
        self._chosen = chosen(names, LAST)
        self._lock = threading.Lock()
        self._indexed: _Index | None = None

    @property
    def members(self) -> int:
        """Members in the archive."""
        return len(self._index().begin)

    @property
    def names(self) -> str:
        """How its names are read; see `storage.archives.members.Archive.names`."""
        return str(self._index().spelling)

    @property
    def notes(self) -> list[str]:
        """What a person should know of it; see `storage.archives.members.Archive.notes`."""
        index = self._index()
        return note(index.spelling) + damages(index.faults)

    def chunks(self, size: ChunkSize) -> Iterator[Chunk]:
        """Cut the archive in its order; see `storage.archives.members.Archive.chunks`."""
        index = self._index()
        for chunk in cut(index.begin, index.end, index.again, size, index.breaks, index.nested):
            yield index.filled(chunk)

    def listed(self) -> Iterator[Listed]:
        """Walk the headers once more; see `storage.archives.members.Archive.listed`."""
        spelling = self._index().spelling
        for member, _ in self._members():
            yield Listed(spelling.text(member.name), member.size)

    def picked(self, indexes: Sequence[int]) -> Iterator[Chunk]:
        """Give some members alone; see `storage.archives.members.Archive.picked`."""
        index = self._index()
        for at in indexes:
            yield index.filled(alone(at, again=bool(index.again[at])))

    def nested(self) -> Iterator[Chunk]:
        """Give the archives among the members; see `storage.archives.members.Archive.nested`."""
        return self.picked(self._index().nested.tolist())

    def inner(self, chunk: Chunk) -> Inner | None:
        """Find an archive among the members; see `storage.archives.members.Archive.inner`."""
        told = Told.decode(chunk.directory)
        if told.faults:
            return None
        with self._reader.held_open() as read:
            window = Window(read, self._reader.size, _LOCAL_BLOCK)
            window.position = chunk.start
            member = next(scan(window, self.uri))
        name = Spelling.recorded(told.names, LAST).text(member.name)
        end = member.data + member.size
        part = Part(self._reader, member.data, end, name)
        return inner(member, name, self._limits, part)

    def read(self, chunk: Chunk, *, last_try: bool = False) -> Iterator[Entry]:
        """Read a chunk's range and yield its members; see `members.Archive.read`."""
        try:
            data = self._reader.read(chunk.start, chunk.end)
        except TransientError as error:
            if not last_try:
                raise
            for index in range(chunk.first, chunk.first + chunk.count):
                # its name stands in its header, which was not given either
                yield Entry(index, f"(member {index})", 0, error=unreadable(error))
        else:
            yield from entries(data, chunk, self.uri, self._limits)

    def _index(self) -> _Index:
        with self._lock:
            if self._indexed is None:
                index = self._walk(self._chosen)
                if index.spelling.encoding and self._chosen is None:
                    index = self._walk(index.spelling)
                self._indexed = index
            return self._indexed

    def _members(self) -> Iterator[tuple[Member, str]]:
        """Walk the headers: each member, and what is wrong with it."""
        block = _LOCAL_BLOCK if self._reader.location.is_local else REMOTE_BLOCK
        with self._reader.held_open() as read:
            source = Window(read, self._reader.size, block)
            source.fault = self._reader.fault
            for member in scan(source, self.uri):
                fault = member.fault
                reaches_past = member.data + member.size > self._reader.size
                if not fault and reaches_past and is_kept(member, self._limits):
                    fault = cut_short(source, self.uri, member.begin).what
                yield member, fault
                if fault and member.kind is not Kind.DAMAGED:
                    break

    def _walk(self, known: Spelling | None) -> _Index:
        begin, end, breaks = array("q"), array("q"), array("q")
        names = Names(opens=self._limits.nested > 0)
        faults: Faults = {}
        sample = Sample()
        spelling = known or Spelling(last=LAST)
        for member, fault in self._members():
            if len(begin) == self._limits.members:
                raise too_many(self.uri, self._limits.members)
            sample.add(member.name)
            name = spelling.text(member.name)
            begin.append(member.begin)
            if fault:
                faults[len(end)] = name, fault
                end.append(member.begin)
                breaks.append(len(end))
            elif is_kept(member, self._limits):
                end.append(min(member.end, self._reader.size))
            else:
                end.append(member.data)
                breaks.append(len(end))
            names.add([name])
        if not begin:
            raise empty(self.uri)
        if known is None:
            spelling = sample.guess(LAST)
        return _Index(
            np.array(begin),
            np.array(end),
            np.array(breaks),
            names.again,
            names.nested,
            spelling,
            faults,
        )

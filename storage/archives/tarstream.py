"""TAR archives that are compressed as a whole, cut into chunks as they stream by."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from storage.archives.expand import Method, expanded
from storage.archives.members import Chunk, ChunkSize, Entry, Inner, Limits, Listed
from storage.archives.ranges import Held
from storage.archives.spelling import AUTO, Sample, Spelling, chosen, note
from storage.archives.tarchunks import LAST, Faults, Told, damages, empty, entries, inner, is_kept
from storage.archives.tarheaders import Kind, Member, cut_short, scan
from storage.archives.tarsources import Memory, Stream
from storage.errors import too_large, too_many
from storage.fs.location import RangeReader
from storage.output.names import digest, lies_in_nested, nests


class TarStream:
    """A TAR that is compressed as a whole; see `storage.archives.members.Archive`.

    It can only be read from its start: chunks carry their bytes, and their `start` and `end` count
    in the uncompressed TAR. To tell duplicates, some 100 bytes a member are kept while it streams.
    The first chunk with names that are not in UTF-8 decides how all are read.
    """

    piecemeal = False

    def __init__(
        self, reader: RangeReader, limits: Limits, method: Method, names: str = AUTO
    ) -> None:
        self.share_read = 0.0
        self.kind = f"tar.{method.name}"
        self.uri = reader.uri
        self.fingerprint = reader.fingerprint
        self.notes: list[str] = []
        self._reader = reader
        self._limits = limits
        self._method = method
        self.names = names
        self._chosen = chosen(names, LAST)

    @property
    def members(self) -> int | None:
        """None: only the end of the stream tells."""
        return None

    def chunks(self, size: ChunkSize) -> Iterator[Chunk]:
        """Cut the archive as it streams by; see `storage.archives.members.Archive.chunks`."""
        source = Stream(expanded(self._reader, self._method, self._note))
        spelling = self._chosen
        seen: set[bytes] = set()
        every_fault: Faults = {}
        run = _Run(0, 0)
        follows = True

        def chunk() -> Chunk:
            nonlocal spelling
            if spelling is None and (guessed := run.sample.guess(LAST)).encoding:
                spelling = guessed
            opens = self._limits.nested > 0
            made, faults = run.chunk(spelling or Spelling(last=LAST), seen, opens=opens)
            every_fault.update(faults)
            self.notes = note(spelling or Spelling()) + damages(every_fault)
            return made

        for member in scan(source, self.uri):
            if run.first + run.count == self._limits.members:
                raise too_many(self.uri, self._limits.members)
            kept = is_kept(member, self._limits)
            until = member.end if kept else member.data
            # how names are read makes no difference to how they end
            nested = self._limits.nested > 0 and nests(member.name.decode(errors="replace"))
            alone = nested or run.nested
            # where the content before is not there, nothing can follow it in the run
            if run.count and (alone or not follows or run.is_full(until - member.begin, size)):
                yield chunk()
                run = _Run(run.number + 1, run.first + run.count)
            run.nested = nested
            headers, fault, content = bytes(source.taken), member.fault, b""
            source.mark()
            if kept and not fault:
                content = source.read(until - member.data)
                if len(content) < member.size:
                    fault = cut_short(source, self.uri, member.begin).what
            run.add(member, headers + content, until, fault)
            if fault and member.kind is not Kind.DAMAGED:
                break
            follows = kept and not fault
        if run.count:
            yield chunk()
        elif not run.first:
            raise empty(self.uri)

    def listed(self) -> Iterator[Listed]:
        """Nothing: see `storage.archives.members.Archive.listed`."""
        return iter(())

    def picked(self, indexes: Sequence[int]) -> Iterator[Chunk]:
        """Nothing: see `storage.archives.members.Archive.picked`."""
        return iter(())

    def nested(self) -> Iterator[Chunk]:
        """Nothing: see `storage.archives.members.Archive.nested`."""
        return iter(())

    def inner(self, chunk: Chunk) -> Inner | None:
        """Find the archive that a chunk carries; see `storage.archives.members.Archive.inner`."""
        told, data = Told.decode(chunk.directory), chunk.data or b""
        if told.faults:
            return None
        member = next(scan(Memory(data), self.uri))
        name = Spelling.recorded(told.names, LAST).text(member.name)
        if member.size > self._limits.member_bytes:
            error = too_large(member.size, self._limits.member_bytes)
            return Inner(name, member.size, 0, error=error)
        content = memoryview(data)[member.data : member.data + member.size]
        return inner(member, name, self._limits, Held(content, name))

    def read(self, chunk: Chunk, *, last_try: bool = False) -> Iterator[Entry]:
        """Yield the members of the bytes that a chunk carries."""
        return entries(chunk.data or b"", chunk, self.uri, self._limits)

    def _note(self, share: float) -> None:
        self.share_read = share


class _Run:
    """Members that stream by and become a chunk.

    Args:
        number: the chunk's.
        first: index of its first member.

    Attributes:
        nested: its only member is named like an archive that can be opened.
    """

    def __init__(self, number: int, first: int) -> None:
        self.number = number
        self.first = first
        self.nested = False
        self.sample = Sample()
        self._start = self._end = 0
        self._bytes = bytearray()
        self._names: list[bytes] = []
        self._faults: dict[int, str] = {}

    @property
    def count(self) -> int:
        """Members so far."""
        return len(self._names)

    def is_full(self, more: int, size: ChunkSize) -> bool:
        """Whether a member of so many bytes does not fit in."""
        return self.count == size.members or len(self._bytes) + more > size.bytes

    def add(self, member: Member, data: bytes, until: int, fault: str) -> None:
        """Take a member in; of a damaged one no bytes."""
        if not self.count:
            self._start = self._end = member.begin
        if fault:
            self._faults[self.first + self.count] = fault
        else:
            self._bytes += data
            self._end = until
        self._names.append(member.name)
        self.sample.add(member.name)

    def chunk(self, spelling: Spelling, seen: set[bytes], *, opens: bool) -> tuple[Chunk, Faults]:
        """Make the chunk, and the name and fault of each damaged member, by its index.

        Args:
            spelling: how names are read.
            seen: digests of all names before; those of the run are added.
            opens: whether archives among the members are opened.
        """
        names = [spelling.text(raw) for raw in self._names]
        duplicates = []
        for index, key in enumerate(map(digest, names), self.first):
            if key in seen or (opens and lies_in_nested(names[index - self.first])):
                duplicates.append(index)
            seen.add(key)
        faults = {at: (names[at - self.first], fault) for at, fault in self._faults.items()}
        placed = {at - self.first: fault for at, fault in faults.items()}
        made = Chunk(
            self.number,
            self.first,
            self.count,
            self._start,
            self._end,
            Told(str(spelling), placed).encode(),
            bytes(self._bytes),
            frozenset(duplicates),
            self.nested,
        )
        return made, faults

"""The words that every kind of archive shares: a chunk to plan, an entry to work on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from storage.errors import MemberError, SkipReason


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What tells one version of an archive from another.

    Attributes:
        size: bytes; for a folder or a list the sum over its files where known.
        version: ETag, or modification time, or a digest of a listing; "" where storage has none.
    """

    size: int
    version: str


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds that a reader keeps, whatever the archive declares.

    Attributes:
        member_bytes: the most that one member may inflate to.
        members: the most in one archive. A plan takes some 200 bytes of memory for each.
    """

    member_bytes: int
    members: int = 10_000_000


@dataclass(frozen=True, slots=True)
class ChunkSize:
    """How far a chunk reaches: it closes at whichever bound comes first (one member at least).

    Attributes:
        members: most members in a chunk.
        bytes: most stored (compressed) bytes in a chunk.
    """

    members: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """A contiguous run of members: one task run, one range of bytes, one part.

    Attributes:
        number: 0-based, in archive order.
        first: index of its first member in the archive.
        count: members in it.
        start, end: the byte range of the archive that holds it (0, 0 for folders and lists).
        directory: what the reader needs to find the members inside the range: the slice of a ZIP's
            central directory, the listing's lines of a folder or list, nothing for a TAR.
        data: the range's bytes, for archives that can only be read in order; None elsewhere.
        duplicates: indexes of members whose crop name an earlier member has already.
    """

    number: int
    first: int
    count: int
    start: int
    end: int
    directory: bytes = b""
    data: bytes | None = None
    duplicates: frozenset[int] = frozenset()

    @property
    def last(self) -> int:
        """Index of its last member in the archive."""
        return self.first + self.count - 1


@dataclass(frozen=True, slots=True)
class Entry:
    """One member, read. Exactly one of `data`, `skip` and `error` is set.

    Attributes:
        index: the member's place in the archive, from 0. Its identity; the name is not.
        name: the path as the archive spells it, decoded, for people to read. Never a path to open.
        size: bytes of content, as declared (0 where unknown).
        data: the whole content.
        skip: why it is passed over.
        error: why it could not be read.
    """

    index: int
    name: str
    size: int
    data: bytes | memoryview | None = None
    skip: SkipReason | None = None
    error: MemberError | None = None


class Archive(Protocol):
    """An opened archive. Thread-safe: `read` may run for several chunks at once."""

    uri: str
    kind: str
    fingerprint: Fingerprint

    @property
    def piecemeal(self) -> bool:
        """Whether `read` holds only some of a chunk's bytes at a time."""
        ...

    @property
    def members(self) -> int | None:
        """Members in the archive; None for a compressed TAR, which only its end tells."""
        ...

    @property
    def share_read(self) -> float:
        """How much of the file `chunks` has gone through, 0 to 1, where `members` is None."""
        ...

    def chunks(self, size: ChunkSize) -> Iterator[Chunk]:
        """Cuts the archive, always in the same places for the same `size`.

        Raises:
            ArchiveError: the archive is damaged (a compressed TAR may say so only on the way).
            TransientError: storage failed.
        """
        ...

    def read(self, chunk: Chunk, *, last_try: bool = False) -> Iterator[Entry]:
        """Yields each member of the chunk once, in order of index.

        Args:
            chunk: one of `chunks`.
            last_try: members that storage does not give become errors instead of being raised.

        Raises:
            TransientError: storage failed; nothing is known about the members not yet yielded.
            ArchiveError: the archive is no longer the one that was opened.
        """
        ...

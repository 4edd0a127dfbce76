"""The words that every kind of archive shares: a chunk to plan, an entry to work on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from storage.archives.spelling import AUTO
from storage.errors import MemberError, MemberWarning, SkipReason
from storage.fs.fingerprint import Fingerprint
from storage.fs.location import RangeReader
from storage.output.names import is_changed


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds that a reader keeps, whatever the archive declares.

    Attributes:
        member_bytes: the most that one member may inflate to.
        members: the most in one archive. A plan takes some 200 bytes of memory for each.
        nested: how many levels of archives in archives are opened.
        nested_bytes: the most that an archive in an archive may unpack to.
        skip_system: whether waste baskets, thumbnails and the like are passed over.
        follow_links: whether symbolic links in a local folder are followed.
        names: the encoding of names in archives in archives, as of `open_archive`.
        redirects: where web servers may redirect to, see `storage.fs.web.client`.
    """

    member_bytes: int
    members: int = 10_000_000
    nested: int = 0
    nested_bytes: int = 1 << 32
    skip_system: bool = True
    follow_links: bool = False
    names: str = AUTO
    redirects: str = "no"


@dataclass(frozen=True, slots=True)
class ChunkSize:
    """How far a chunk reaches: it closes at whichever bound comes first (one member at least).

    Attributes:
        members: most members in a chunk.
        bytes: most stored (compressed) bytes in a chunk.
    """

    members: int
    bytes: int


class Copy(NamedTuple):
    """A member that comes again.

    Attributes:
        member: its index.
        first: index of the first member with the same bytes.
        sha256: of these, in hexadecimal digits.
    """

    member: int
    first: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Chunk:
    """A contiguous run of members: one task run, one range of bytes, one part.

    Attributes:
        number: 0-based, in archive order.
        first: index of its first member in the archive.
        count: members in it.
        start, end: the byte range of the archive that holds it (0, 0 for folders and lists).
        directory: what the reader needs to find the members inside the range: the slice of a ZIP's
            central directory, the listing's lines of a folder or list, of a TAR what is damaged.
        data: the range's bytes, for archives that can only be read in order; None elsewhere.
        duplicates: indexes of members whose crop name an earlier member has already.
        copies: those of its members that an earlier one has the bytes of, where that was asked.
        nested: its only member is named like an archive that can be opened. While it is planned
            alone: whoever reads the chunk is told by `directory`.
    """

    number: int
    first: int
    count: int
    start: int
    end: int
    directory: bytes = b""
    data: bytes | None = None
    duplicates: frozenset[int] = frozenset()
    nested: bool = False
    copies: tuple[Copy, ...] = ()

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
        warnings: what was done with a doubt to read it.
    """

    index: int
    name: str
    size: int
    data: bytes | memoryview | None = None
    skip: SkipReason | None = None
    error: MemberError | None = None
    warnings: tuple[MemberWarning, ...] = ()


class Listed(NamedTuple):
    """One member, as the index of its archive has it.

    Attributes:
        name: as of an Entry.
        size: bytes of content, as declared; -1 where nobody has asked yet.
        crc: the CRC-32 of its content, as declared; None where the index has none.
    """

    name: str
    size: int
    crc: int | None = None


@dataclass(frozen=True, slots=True)
class Inner:
    """An archive that is a member of another, found but not opened.

    Attributes:
        name: as of an Entry.
        size: bytes of content, as declared.
        stored: bytes that it takes up where it lies.
        reader: of its content, where that lies as it is.
        pieces: gives its content from the first byte to the last, where it is compressed. Raises
            MemberError where that is damaged, and TransientError.
        error: why it cannot be read; then there is neither of them.
    """

    name: str
    size: int
    stored: int
    reader: RangeReader | None = None
    pieces: Callable[[], Iterator[bytes]] | None = None
    error: MemberError | None = None


def doubts(name: str) -> tuple[MemberWarning, ...]:
    """What is to be said of a member of this name, however well it was read."""
    return (MemberWarning.NAME_CHANGED,) if is_changed(name) else ()


class Archive(Protocol):
    """An opened archive. Thread-safe: `read` may run for several chunks at once."""

    uri: str
    kind: str

    @property
    def fingerprint(self) -> Fingerprint:
        """What tells this version of it from another."""
        ...

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

    @property
    def names(self) -> str:
        """How names are read that are not marked as UTF-8: for `open_archive`, to read them so."""
        ...

    @property
    def notes(self) -> list[str]:
        """Lines that a person should read; of a compressed TAR complete once it has been read."""
        ...

    def chunks(self, size: ChunkSize) -> Iterator[Chunk]:
        """Cut the archive, always in the same places for the same `size`.

        Raises:
            ArchiveError: the archive is damaged (a compressed TAR may say so only on the way).
            TransientError: storage failed.
        """
        ...

    def listed(self) -> Iterator[Listed]:
        """What the index has of each member, in order; nothing where `members` is None."""
        ...

    def read(self, chunk: Chunk, *, last_try: bool = False) -> Iterator[Entry]:
        """Yield each member of the chunk once, in order of index.

        Args:
            chunk: one of `chunks`.
            last_try: members that storage does not give become errors instead of being raised.

        Raises:
            TransientError: storage failed; nothing is known about the members not yet yielded.
            ArchiveError: the archive is no longer the one that was opened.
        """
        ...

    def picked(self, indexes: Sequence[int]) -> Iterator[Chunk]:
        """A chunk of its own for each of some members, which has no number, in their order.

        Of a compressed TAR none: it can only be read in order.
        """
        ...

    def nested(self) -> Iterator[Chunk]:
        """The chunks, of one member each, that `chunks` marks as nested; they have no number.

        Of a compressed TAR none: they are known when they stream by.
        """
        ...

    def inner(self, chunk: Chunk) -> Inner | None:
        """Find the archive that is the member of a nested chunk; None if it is to be skipped.

        Raises:
            TransientError: storage failed.
        """
        ...

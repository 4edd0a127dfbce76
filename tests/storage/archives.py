"""What the tests of every kind of archive need."""

from __future__ import annotations

from dataclasses import dataclass

from storage.archives.members import Archive, ChunkSize, Entry, Limits
from storage.errors import MemberErrorCode

LIMITS = Limits(member_bytes=8 << 20)


@dataclass(frozen=True)
class Case:
    """A hand-made ZIP entry: local header with data, and its directory record in two pieces."""

    local: bytes
    central: bytes
    name: bytes


def read_all(archive: Archive, size: ChunkSize) -> list[Entry]:
    """Read every chunk, and check what must hold for every archive."""
    entries: list[Entry] = []
    for number, chunk in enumerate(archive.chunks(size)):
        assert (chunk.number, chunk.first) == (number, len(entries))
        assert 1 <= chunk.count <= size.members
        read = list(archive.read(chunk))
        assert [entry.index for entry in read] == list(
            range(chunk.first, chunk.first + chunk.count)
        )
        for entry in read:
            assert [entry.data, entry.skip, entry.error].count(None) == 2
        entries += read
    if archive.members is not None:
        indexes = list(range(len(entries)))[::-1]
        picked = [entry for one in archive.picked(indexes) for entry in archive.read(one)]
        assert list(map(_told, picked)) == list(map(_told, reversed(entries)))
    return entries


def _told(entry: Entry) -> tuple[object, ...]:
    """An entry, comparable: what is wrong with a damaged one may depend on what is read with it."""
    data = None if entry.data is None else bytes(entry.data)
    fails = entry.error is not None
    return entry.index, entry.name, entry.size, data, entry.skip, fails, entry.warnings


def names_and_data(entries: list[Entry]) -> list[tuple[str, bytes | None]]:
    return [(e.name, None if e.data is None else bytes(e.data)) for e in entries]


def codes(entries: list[Entry]) -> list[MemberErrorCode | None]:
    return [entry.error.code if entry.error else None for entry in entries]

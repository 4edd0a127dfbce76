"""Some members of a chunk, read without the others."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from storage.archives.ahead import read_each
from storage.archives.members import Archive, Chunk, Entry

_AT_ONCE = 16  # members read at a time: hides the latency of object stores


def read_members(
    archive: Archive, chunk: Chunk, indexes: Collection[int], *, last_try: bool
) -> Iterator[Entry]:
    """Read some members of a chunk; nothing of others is, but in a compressed TAR.

    Args:
        archive: that the chunk is of.
        chunk: one of its `chunks`.
        indexes: of the members.
        last_try: as `Archive.read` has it.

    Raises:
        As of `Archive.read`.
    """
    if archive.members is None or len(indexes) == chunk.count:
        every = archive.read(chunk, last_try=last_try)
        yield from (entry for entry in every if entry.index in indexes)
        return
    picked = list(archive.picked(sorted(indexes)))

    def read(one: Chunk) -> list[Entry]:
        return list(archive.read(one, last_try=last_try))

    for entries in read_each(picked, read, _AT_ONCE):
        yield from entries

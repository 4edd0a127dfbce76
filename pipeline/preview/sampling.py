"""Which members stand for an archive, and how they alone are read."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import accumulate

from pipeline.retries import retried
from storage.archives.ahead import read_each
from storage.archives.members import Archive, Chunk, ChunkSize, Entry

_AT_ONCE = 16  # members read at a time: hides the latency of object stores
_BEGINNING = ChunkSize(members=32, bytes=64 << 20)


def spread(members: int, count: int, seed: int) -> list[int]:
    """Indexes of `count` members, one at random of each of as many strata, in order.

    Strata are of one size, but for a rest that is shared out at random. So nothing that comes
    again and again in the archive's order can fall in step with the sample, and each member is as
    likely to be in it as any other.

    Args:
        members: in the archive.
        count: most members in the sample.
        seed: the same one gives the same sample.
    """
    if count >= members:
        return list(range(members))
    chance = random.Random(seed)
    size, rest = divmod(members, count)
    sizes = [size + 1] * rest + [size] * (count - rest)
    chance.shuffle(sizes)
    begins = accumulate(sizes, initial=0)
    return [begin + chance.randrange(size) for begin, size in zip(begins, sizes, strict=False)]


@dataclass(slots=True)
class Sampled:
    """The members of an archive that are looked at, while they are read.

    Attributes:
        archive: that they are of.
        members: in the archive; None where only its end tells, and that was not read.
        count: how many are read.
        indexes: of them, where the archive has an index.
        chunks: the chunk of each member that was read, by its index.
        share: of the archive that was read, where that is its beginning alone; else None.
    """

    archive: Archive
    members: int | None
    count: int
    indexes: list[int]
    chunks: dict[int, Chunk] = field(default_factory=dict)
    share: float | None = None

    @classmethod
    def of(cls, archive: Archive, count: int, seed: int) -> Sampled:
        """A sample of `count` members, by a seed; see `spread`."""
        members = archive.members
        indexes = [] if members is None else spread(members, count, seed)
        return cls(archive, members, min(count, members or count), indexes)

    def read(self) -> Iterator[Entry]:
        """Each member once, in order of index; nothing else is read.

        A compressed TAR can only be read from its start. So of one that is the beginning, and the
        sample says so, unless all of it was read.

        Raises:
            ArchiveError: the archive is damaged, or has changed.
        """
        if self.members is None:
            yield from self._beginning()
            return
        picked = list(self.archive.picked(self.indexes))
        self.chunks = {chunk.first: chunk for chunk in picked}
        for entries in read_each(picked, self._entries, _AT_ONCE):
            yield from entries

    def _beginning(self) -> Iterator[Entry]:
        read = 0
        for chunk in self.archive.chunks(_BEGINNING):
            for entry in self._entries(chunk):
                if read == self.count:
                    # what was read of it has more members than are taken
                    self.share = self.archive.share_read * read / (chunk.first + chunk.count)
                    return
                self.chunks[entry.index] = chunk
                read += 1
                yield entry
        self.members = self.count = read

    def _entries(self, chunk: Chunk) -> list[Entry]:
        """The members of a chunk; of one that storage gives on no attempt that is its error."""
        return retried(lambda last: list(self.archive.read(chunk, last_try=last)))

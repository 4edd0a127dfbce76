"""Where an archive of any kind is cut into chunks."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from storage.archives.members import Chunk, ChunkSize

Column = npt.NDArray[np.int64]
Marks = npt.NDArray[np.bool_]

NOWHERE: Column = np.empty(0, np.int64)


def cut(
    begin: Column,
    end: Column,
    again: Marks,
    size: ChunkSize,
    breaks: Column = NOWHERE,
    nested: Column = NOWHERE,
) -> Iterator[Chunk]:
    """Cut n members into chunks, in their order, each as long as `size` allows.

    Args:
        begin, end: n places each, in bytes, where what is read of a member begins and ends.
        again: n flags, of members whose crop name an earlier one has already.
        breaks: indexes, sorted, of members that begin a chunk in any case.
        nested: indexes, sorted, of members that have a chunk of their own.

    Yields:
        Chunks that do not say yet where their bytes are.
    """
    first = number = 0
    single = frozenset(nested.tolist())
    breaks = np.union1d(breaks, np.concatenate([nested, nested + 1])) if single else breaks
    while first < len(end):
        fits = np.searchsorted(end, begin[first] + size.bytes, side="right")
        following = np.searchsorted(breaks, first, side="right")
        until = breaks[following] if following < len(breaks) else len(end)
        last = max(first + 1, min(int(fits), first + size.members, int(until)))
        duplicates = (first + np.flatnonzero(again[first:last])).tolist()
        yield Chunk(
            number,
            first,
            last - first,
            0,
            0,
            duplicates=frozenset(duplicates),
            nested=first in single,
        )
        first, number = last, number + 1


def alone(index: int, *, again: bool) -> Chunk:
    """A chunk of one member, without a number, that does not say yet where its bytes are.

    Args:
        index: of the member.
        again: whether its crop name is an earlier one's already.
    """
    return Chunk(0, index, 1, 0, 0, duplicates=frozenset([index] if again else []))


def places(cost: npt.ArrayLike) -> tuple[Column, Column]:
    """Where members that cost so many bytes each begin and end, if nothing is between them."""
    end = np.cumsum(cost, dtype=np.int64)
    return end - np.asarray(cost, np.int64), end

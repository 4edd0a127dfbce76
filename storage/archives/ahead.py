"""Ranges read in turn, the next ones while one is worked on."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")
Item = TypeVar("Item")


@contextmanager
def readers(threads: int) -> Iterator[Executor]:
    """Threads to read with, which nobody waits for at the end.

    The garbage collector may be what ends this, in a thread that holds the very lock that joining
    another takes.
    """
    pool = ThreadPoolExecutor(threads, thread_name_prefix="read-ahead")
    try:
        yield pool
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def read_ahead(
    pool: Executor, read: Callable[[int, int], T], ranges: Iterable[tuple[int, int]], most: int
) -> Iterator[T]:
    """What `read` gives of each range, in their order.

    Args:
        pool: where it is called.
        read: takes the start and the end of a range.
        ranges: in bytes, or of a list's items.
        most: bytes or items asked for at a time; one range may be larger.

    Raises:
        What `read` raises, in the range's turn.
    """
    waiting: deque[tuple[int, Future[T]]] = deque()
    asked = 0
    try:
        for start, end in ranges:
            while waiting and asked + end - start > most:
                size, coming = waiting.popleft()
                yield coming.result()
                asked -= size
            waiting.append((end - start, pool.submit(read, start, end)))
            asked += end - start
        while waiting:
            yield waiting.popleft()[1].result()
    finally:
        for _, coming in waiting:
            coming.cancel()


def read_each(items: Sequence[Item], read: Callable[[Item], T], most: int) -> Iterator[T]:
    """What `read` gives of each item, in their order, so many read at a time.

    Raises:
        What `read` raises, in the item's turn.
    """
    with readers(most) as pool:
        each = ((place, place + 1) for place in range(len(items)))
        yield from read_ahead(pool, lambda place, _: read(items[place]), each, most)

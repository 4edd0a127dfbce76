"""Ranges read in turn, the next ones while one is worked on."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from typing import TypeVar

T = TypeVar("T")


def read_ahead(
    pool: Executor, read: Callable[[int, int], T], ranges: Iterable[tuple[int, int]], most: int
) -> Iterator[T]:
    """What `read` gives of each range, in their order.

    Args:
        pool: where it is called.
        read: takes the start and the end of a range.
        ranges: in bytes.
        most: bytes asked for at a time; one range may be larger.

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

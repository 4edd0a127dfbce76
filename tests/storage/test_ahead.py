import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from storage.archives.ahead import read_ahead

RANGES = [(start, start + 10) for start in range(0, 100, 10)]


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as pool:
        yield pool


@pytest.mark.parametrize("most", [1, 10, 35, 1000])
def test_ranges_come_in_their_order(pool: ThreadPoolExecutor, most: int) -> None:
    assert list(read_ahead(pool, lambda start, end: (start, end), RANGES, most)) == RANGES


@pytest.mark.parametrize(("most", "at_once"), [(1, 1), (10, 1), (35, 3), (1000, 10)])
def test_no_more_is_asked_for_than_may_be(
    pool: ThreadPoolExecutor, most: int, at_once: int
) -> None:
    asked: list[int] = []
    reading = read_ahead(pool, lambda start, end: asked.append(start), RANGES, most)
    for taken, _ in enumerate(reading):
        assert len(asked) <= taken + at_once
    assert sorted(asked) == [start for start, _ in RANGES]


def test_they_are_read_at_the_same_time(pool: ThreadPoolExecutor) -> None:
    together = threading.Barrier(3, timeout=30)
    assert len(list(read_ahead(pool, lambda start, end: together.wait(), RANGES[:9], 30))) == 9


def test_an_error_comes_in_its_turn_and_what_waits_is_given_up() -> None:
    asked: list[int] = []
    held = threading.Event()

    def read(start: int, end: int) -> int:
        asked.append(start)
        if start == 20:
            raise TimeoutError("too late")
        if start > 20:
            held.wait(30)
        return start

    with ThreadPoolExecutor(2) as pool:
        reading = read_ahead(pool, read, RANGES, 1000)
        assert [next(reading), next(reading)] == [0, 10]
        with pytest.raises(TimeoutError):
            next(reading)
        held.set()
    assert len(asked) <= 5  # of ten: two threads had begun the next, and perhaps one more each

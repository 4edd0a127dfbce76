"""The pool of threads that images are worked on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pytest

from pipeline.images import ImagePool
from storage.archives.members import Entry
from storage.errors import TransientError

Done = TypeVar("Done")


def entries(numbers: range) -> Iterator[Entry]:
    for number in numbers:
        yield Entry(number, f"{number}.jpg", 1, data=b"1")


def each(work: Callable[[Entry], Done]) -> Callable[[Iterable[Entry]], Iterator[Done]]:
    return lambda taken: map(work, taken)


def test_each_entry_is_worked_on_once() -> None:
    def work(entry: Entry) -> int:
        time.sleep(0.01 * (entry.index % 3))
        return entry.index

    with ImagePool(4) as images:
        assert sorted(images.map(each(work), entries(range(50)))) == list(range(50))
        assert images.map(each(work), entries(range(0))) == []


def test_work_may_take_an_entry_before_it_has_done_another() -> None:
    def work(taken: Iterator[Entry]) -> Iterator[int]:
        ahead: list[int] = []
        for entry in taken:
            ahead.append(entry.index)
            if len(ahead) == 3:
                yield ahead.pop(0)
        yield from ahead

    with ImagePool(2) as images:
        assert sorted(images.map(work, entries(range(50)))) == list(range(50))


def test_only_as_many_are_read_as_are_worked_on() -> None:
    lock = threading.Lock()
    read = done = most = 0

    def reading() -> Iterator[Entry]:
        nonlocal read, most
        for entry in entries(range(40)):
            with lock:
                read += 1
                most = max(most, read - done)
            yield entry

    def work(entry: Entry) -> None:
        nonlocal done
        time.sleep(0.005)
        with lock:
            done += 1

    with ImagePool(3) as images:
        images.map(each(work), reading())
    assert done == 40
    assert most <= 3


@pytest.mark.parametrize("where", ["reading", "work"])
def test_what_goes_wrong_ends_it_with_nothing_under_way(where: str) -> None:
    busy = 0

    def reading() -> Iterator[Entry]:
        for entry in entries(range(1000)):
            if where == "reading" and entry.index == 20:
                raise ConnectionError("reading")
            yield entry

    def work(entry: Entry) -> int:
        nonlocal busy
        busy += 1
        try:
            if where == "work" and entry.index == 20:
                raise ConnectionError("work")
            time.sleep(0.002)
            worked.append(entry.index)
            return entry.index
        finally:
            busy -= 1

    worked: list[int] = []
    with ImagePool(1) as images:
        with pytest.raises(ConnectionError, match=where):
            images.map(each(work), reading())
        assert busy == 0
        assert worked == list(range(20))
        assert len(images.map(each(work), entries(range(5)))) == 5


def test_an_image_under_way_is_ended_before_what_went_wrong_is_told() -> None:
    under_way, ended = threading.Event(), threading.Event()

    def work(entry: Entry) -> None:
        if entry.index == 0:
            under_way.set()
            time.sleep(0.3)
            ended.set()
        elif under_way.wait(30):
            raise ConnectionError("work")

    with ImagePool(2) as images:
        with pytest.raises(ConnectionError):
            images.map(each(work), entries(range(1000)))
        assert ended.is_set()


def test_no_thread_waits_while_another_ends_a_chunk() -> None:
    next_began = threading.Event()

    def slow(entry: Entry) -> bool:
        return entry.index != 3 or next_began.wait(30)

    def quick(_: Entry) -> None:
        next_began.set()

    with ImagePool(2) as images, ThreadPoolExecutor(2) as chunks:
        first = chunks.submit(images.map, each(slow), entries(range(4)))
        second = chunks.submit(images.map, each(quick), entries(range(4)))
        assert first.result(60) == [True] * 4
        second.result(60)


def test_a_machine_without_threads_is_no_fault_of_an_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    started = threading.Thread.start
    left = [1]

    def start(thread: threading.Thread) -> None:
        if not left:
            raise RuntimeError("can't start new thread")
        left.pop()
        started(thread)

    with ImagePool(3) as images:
        monkeypatch.setattr(threading.Thread, "start", start)
        with pytest.raises(TransientError, match="can't start new thread"):
            images.map(each(lambda entry: time.sleep(0.05)), entries(range(50)))
        monkeypatch.undo()
        assert sorted(images.map(each(lambda entry: entry.index), entries(range(9)))) == [*range(9)]

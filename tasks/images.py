"""The threads on which images are worked on, shared by all the chunks in hand."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from itertools import chain
from types import TracebackType
from typing import TypeVar

from storage.members import Entry

Done = TypeVar("Done")


class ImagePool:
    """Works on the images of several chunks, on as many threads as there are cores.

    A chunk's images are spread over all threads, so that none waits while another ends the last
    chunk of a batch. One chunk at a time hands in its images: meanwhile the next reads its range
    and the one before writes its crops.

    Args:
        threads: images worked on at once.
    """

    def __init__(self, threads: int) -> None:
        self._threads = ThreadPoolExecutor(threads, "image")
        self._room = threading.Semaphore(2 * threads)  # images are in memory, so not many wait
        self._turn = threading.Lock()

    def __enter__(self) -> ImagePool:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._threads.shutdown()

    def map(self, work: Callable[[Entry], Done], entries: Iterable[Entry]) -> list[Done]:
        """What `work` makes of each entry, in their order.

        Raises:
            Whatever reading an entry or working on it raises; nothing is under way any more then.
        """
        waiting = iter(entries)
        first = [entry for entry in [next(waiting, None)] if entry is not None]
        under_way: list[Future[Done]] = []
        try:
            with self._turn:
                for entry in chain(first, waiting):
                    self._room.acquire()
                    future = self._threads.submit(copy_context().run, work, entry)
                    future.add_done_callback(lambda _: self._room.release())
                    under_way.append(future)
            return [future.result() for future in under_way]
        finally:
            for future in under_way:
                future.cancel()
            wait(under_way)

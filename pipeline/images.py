"""The threads on which images are worked on, shared by all the chunks in flight."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from itertools import chain, islice
from typing import TypeVar

from detection.sandbox.pool import warm
from pipeline.cores import cores
from storage.archives.members import Entry
from storage.errors import TransientError

Done = TypeVar("Done")


_WARM = 4  # more processes than this are started by the images that need them


def warm_up(threads: int) -> None:
    """Start the first processes that images are worked on in, while something else is prepared.

    Args:
        threads: images to be worked on at once; 0 for as many as there are cores.
    """
    warm(min(threads or cores(), _WARM))


class ImagePool:
    """Threads on which the images of several chunks are worked on.

    Each thread takes the next image of a chunk when it is done with one, and the next chunk's when
    there is none left, so that none waits while another ends a chunk. What is read in the thread
    that needs it need not be handed from one to another, and takes no other's turn on a core.

    Args:
        threads: images worked on at once.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, "image")

    def __enter__(self) -> ImagePool:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()

    def map(
        self, work: Callable[[Iterator[Entry]], Iterator[Done]], entries: Iterable[Entry]
    ) -> list[Done]:
        """What `work` makes of the entries, in no particular order.

        Args:
            work: called in each thread, with those of the entries that this thread takes; it takes
                one whenever it can do with one.
            entries: read by whichever thread takes the next.

        Raises:
            TransientError: the machine has no thread left.
            Whatever reading an entry or working on it raises; nothing is under way any more then.
        """
        reading = iter(entries)
        # the chunk before has the threads still: its beginning is read meanwhile
        first = list(islice(reading, 1))
        waiting = chain(first, reading)
        lock = threading.Lock()
        over = threading.Event()

        def taken() -> Iterator[Entry]:
            while not over.is_set():
                with lock:
                    entry = next(waiting, None)
                if entry is None:
                    return
                yield entry

        def take_turns() -> list[Done]:
            try:
                return list(work(taken()))
            except BaseException:
                over.set()
                raise

        turns: list[Future[list[Done]]] = []
        try:
            for _ in range(self._threads):
                turns.append(self._submit(take_turns))
            return [done for turn in turns for done in turn.result()]
        finally:
            over.set()
            for turn in turns:
                turn.cancel()
            wait(turns)

    def _submit(self, turn: Callable[[], Done]) -> Future[Done]:
        try:
            return self._pool.submit(copy_context().run, turn)
        except RuntimeError as error:
            raise TransientError(f"No thread for images can be started: {error}.") from error

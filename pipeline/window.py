"""Chunks worked on a few at a time, however many there are."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from contextvars import copy_context
from typing import Protocol, TypeVar

from pipeline.batch import Batch
from pipeline.cores import cores
from pipeline.images import ImagePool
from pipeline.retries import retried
from storage.archives.members import Chunk

_TICK_SECONDS = 0.25
_CHUNKS = 3  # one is read, one worked on, one written; and more where there are many cores
_THREADS_A_CHUNK = 4
_PARTS_AT_ONCE = 64  # so many are read together


class Pending(Protocol):
    """A chunk that was started."""

    def result(self, timeout: float) -> int:
        """Wait for its number of members.

        Raises:
            TimeoutError: it is not done yet.
            Whatever ended it.
        """


AnyBatch = TypeVar("AnyBatch", bound=Batch, contravariant=True)


class Work(Protocol[AnyBatch]):
    """What is done to a chunk, such as `pipeline.chunk.crop_chunk`."""

    def __call__(
        self, batch: AnyBatch, chunk: Chunk, images: ImagePool, *, last_attempt: bool
    ) -> int:
        """Do it, and return the number of members."""


Start = Callable[[Chunk, ImagePool], Pending]
Runner = Callable[[int], AbstractContextManager[Start]]
"""Given how many chunks are in flight at once, a context in which chunks are started. Leaving it
waits for those that were."""


def in_threads(batch: AnyBatch, work: Work[AnyBatch]) -> Runner:
    """Run each chunk on a thread of this process, retried after transient errors.

    Args:
        batch: whose chunks they are.
        work: what is done to a chunk.
    """

    @contextmanager
    def run(at_once: int) -> Iterator[Start]:
        with ThreadPoolExecutor(at_once, "chunk") as pool:

            def start(chunk: Chunk, images: ImagePool) -> Future[int]:
                def attempt(last: bool) -> int:
                    return work(batch, chunk, images, last_attempt=last)

                return pool.submit(copy_context().run, lambda: retried(attempt, stop=batch.stop))

            yield start

    return run


def crop_chunks(
    batch: Batch, chunks: Iterable[Chunk], tick: Callable[[], None], runner: Runner
) -> tuple[int, int]:
    """Work on the chunks that are not done.

    The window slides: an archive may have a million members, so neither the chunks nor their
    futures are ever all in memory.

    Args:
        batch: what the chunks belong to.
        chunks: some or all of its chunks.
        tick: called when a chunk is started, and a few times a second while one is waited for.
        runner: starts them.

    Returns:
        How many members and chunks there were, those that were done before included.
    """
    threads = batch.settings.run.threads or cores()
    at_once = _CHUNKS + threads // _THREADS_A_CHUNK
    window: deque[Pending] = deque()
    resumed: list[int] = []
    members = count = 0
    with ImagePool(threads) as images, runner(at_once) as start:
        try:
            for chunk in chunks:
                members, count = members + chunk.count, count + 1
                if chunk.number in batch.done:
                    resumed.append(chunk.number)
                    if len(resumed) == _PARTS_AT_ONCE:
                        _resume(batch, resumed)
                    continue
                window.append(start(chunk, images))
                tick()
                if len(window) > at_once:
                    _wait(window.popleft(), tick)
            _resume(batch, resumed)
            while window:
                _wait(window.popleft(), tick)
        except BaseException:
            batch.stop.set()  # the pool waits for its threads; let them give up at the next image
            raise
    return members, count


def _resume(batch: Batch, chunks: list[int]) -> None:
    """Count chunks that an earlier run completed, and empties their list."""
    batch.progress.resume(batch.output.counts(chunks))
    chunks.clear()


def _wait(pending: Pending, tick: Callable[[], None]) -> None:
    while True:
        try:
            pending.result(timeout=_TICK_SECONDS)
            break
        except TimeoutError:
            tick()
    tick()

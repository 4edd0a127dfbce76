"""A task mapped over chunks, a few in hand at a time, however many there are."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from prefect import Task
from prefect.futures import PrefectFuture
from prefect.task_runners import ThreadPoolTaskRunner

from storage.members import Chunk
from tasks.batch import Batch
from tasks.cores import cores
from tasks.crop_chunk import detect_and_crop
from tasks.images import ImagePool

_TICK_SECONDS = 0.25
_CHUNKS = 3  # one is read, one worked on, one written; and more where there are many cores
_THREADS_A_CHUNK = 4
_PARTS_AT_ONCE = 64  # so many are read together


def crop_chunks(
    batch: Batch,
    chunks: Iterable[Chunk],
    tick: Callable[[], None],
    work: Task[[Batch, Chunk, ImagePool], int] = detect_and_crop,
) -> tuple[int, int]:
    """Maps a task over the chunks that are not done.

    The map is a window that slides: an archive may have a million members, so neither the chunks
    nor their futures are ever all in memory.

    Args:
        batch: what the chunks belong to.
        chunks: some or all of its chunks.
        tick: called when a chunk is begun, and a few times a second while it waits.
        work: what is done to a chunk.

    Returns:
        How many members and chunks there were, those that were done before included.
    """
    threads = batch.settings.run.threads or cores()
    at_once = _CHUNKS + threads // _THREADS_A_CHUNK
    window: deque[PrefectFuture[int]] = deque()
    resumed: list[int] = []
    members = count = 0
    with ImagePool(threads) as images, ThreadPoolTaskRunner[Any](max_workers=at_once) as runner:
        try:
            for chunk in chunks:
                members, count = members + chunk.count, count + 1
                if chunk.number in batch.done:
                    resumed.append(chunk.number)
                    if len(resumed) == _PARTS_AT_ONCE:
                        _resume(batch, resumed)
                    continue
                given = {"batch": batch, "chunk": chunk, "images": images}
                window.append(runner.submit(work, given))
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
    """Counts chunks that an earlier run completed, and empties their list."""
    batch.progress.resume(batch.output.counts(chunks))
    chunks.clear()


def _wait(future: PrefectFuture[int], tick: Callable[[], None]) -> None:
    while True:
        try:
            future.result(timeout=_TICK_SECONDS)
            break
        except TimeoutError:
            tick()
    tick()

"""Chunks as task runs of the current flow run, for `pipeline.window`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from prefect import Task
from prefect.futures import PrefectFuture
from prefect.task_runners import ThreadPoolTaskRunner

from pipeline.batch import Batch
from pipeline.images import ImagePool
from pipeline.window import Runner, Start
from storage.archives.members import Chunk
from tasks.crop_chunk import detect_and_crop
from tasks.lifecycle.concurrency import StoreSlots
from tasks.lifecycle.server import hurry_if_ended_by


def task_runs(batch: Batch, work: Task[..., int] = detect_and_crop) -> Runner:
    """Run each chunk as a task run.

    Args:
        batch: whose chunks they are.
        work: what is done to a chunk.
    """
    slots = StoreSlots(batch.archive.uri, batch.output.uri)

    @contextmanager
    def run(at_once: int) -> Iterator[Start]:
        with ThreadPoolTaskRunner[Any](max_workers=at_once) as runner:

            def start(chunk: Chunk, images: ImagePool) -> PrefectFuture[int]:
                given = {"batch": batch, "chunk": chunk, "images": images, "store": slots}
                return runner.submit(work, given)

            try:
                yield start
            except BaseException as error:
                hurry_if_ended_by(error)
                raise

    return run

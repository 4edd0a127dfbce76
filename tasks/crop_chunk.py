"""Chunks as Prefect tasks."""

from __future__ import annotations

from prefect import task

from pipeline import chunk as plain
from pipeline.batch import Batch
from pipeline.images import ImagePool
from storage.archives.members import Chunk
from tasks.lifecycle.concurrency import StoreSlots
from tasks.retries import last_attempt, task_options


@task(
    name="detect-and-crop",
    task_run_name="chunk {chunk.number}: members {chunk.first}-{chunk.last}",
    **task_options(),
)
def detect_and_crop(batch: Batch, chunk: Chunk, images: ImagePool, store: StoreSlots) -> int:
    """Run `pipeline.chunk.crop_chunk`, in one of the object store's slots."""
    with store.slot():
        return plain.crop_chunk(batch, chunk, images, last_attempt=last_attempt())


@task(
    name="retry-failed",
    task_run_name="failed members of chunk {chunk.number}",
    **task_options(),
)
def retry_failed_members(batch: Batch, chunk: Chunk, images: ImagePool, store: StoreSlots) -> int:
    """Run `pipeline.chunk.retry_failed_members`, in one of the object store's slots."""
    with store.slot():
        return plain.retry_failed_members(batch, chunk, images, last_attempt=last_attempt())

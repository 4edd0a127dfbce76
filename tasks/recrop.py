"""The steps of a recrop, in the name of the current flow run."""

from __future__ import annotations

from prefect import task

from pipeline.images import ImagePool
from pipeline.recrop import batch as plain
from pipeline.recrop import chunk as plain_chunk
from pipeline.recrop.batch import Recrop, Target
from pipeline.recrop.local import finish as finish_plainly
from pipeline.recrop.settings import RecropSettings
from pipeline.summary import Summary
from storage.archives.members import Chunk
from tasks.lifecycle.concurrency import StoreSlots
from tasks.lifecycle.current import current_run
from tasks.retries import last_attempt, retried_step, task_options


@task(
    name="recrop",
    task_run_name="chunk {chunk.number}: members {chunk.first}-{chunk.last}",
    **task_options(),
)
def recrop_chunk(batch: Recrop, chunk: Chunk, images: ImagePool, store: StoreSlots) -> int:
    """Run `pipeline.recrop.chunk.recrop_chunk`, in one of the object store's slots."""
    with store.slot():
        return plain_chunk.recrop_chunk(batch, chunk, images, last_attempt=last_attempt())


def plan(batch: str, output: str, settings: RecropSettings) -> Recrop:
    """Run `pipeline.recrop.batch.plan`."""
    run = current_run()
    return retried_step(lambda: plain.plan(batch, output, settings, str(run.id), run.created))


def finish(batch: Recrop, target: Target, members: int, chunks: int, started: float) -> Summary:
    """Run `pipeline.recrop.local.finish`."""
    return retried_step(lambda: finish_plainly(batch, target, members, chunks, started))

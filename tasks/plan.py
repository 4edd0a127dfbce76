"""The beginning and the end of a batch, in the name of the current flow run.

No tasks: each task run costs a small batch as much at the server as the batch's own states do. They
are retried as tasks are.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from prefect.logging import get_run_logger

from pipeline import batch as plain
from pipeline import report
from pipeline.batch import Batch
from pipeline.settings import CropSettings, LimitSettings, RunSettings
from pipeline.summary import Summary
from storage.archives.members import Chunk
from storage.output.counts import Counts
from tasks.lifecycle.current import current_run
from tasks.retries import retried_step

_LONG_SECONDS = 5  # what takes less is not worth a line


def plan(archive: str, output: str, settings: CropSettings) -> Batch:
    """Run `pipeline.batch.plan`."""
    run = current_run()
    with _timed("Planning"):
        return retried_step(lambda: plain.plan(archive, output, settings, str(run.id), run.created))


def open_shard(
    archive: str, output: str, shard: int, settings: CropSettings, batch: str
) -> tuple[Batch, list[Chunk]]:
    """Run `pipeline.batch.open_shard`."""
    return retried_step(lambda: plain.open_shard(archive, output, shard, settings, batch))


def reopen(
    output: str, settings: RunSettings, limits: LimitSettings | None
) -> tuple[Batch, set[int]]:
    """Run `pipeline.batch.reopen`."""
    return retried_step(lambda: plain.reopen(output, settings, limits))


def finish(batch: Batch, members: int, chunks: int) -> Counts:
    """Write the batch's tables from its parts.

    Raises:
        AccountingError: not every member is there exactly once.
    """
    for line in batch.notes:
        get_run_logger().warning("%s: %s", batch.archive.uri, line)
    with _timed("Writing the tables"):
        return retried_step(lambda: batch.finish(members, chunks))


def write_report(batch: Batch, summary: Summary) -> None:
    """Run `pipeline.report.write_report`, unless the report is there."""
    if batch.idle:
        return
    with _timed("Writing the report"):
        retried_step(lambda: report.write_report(batch.output, summary))


@contextmanager
def _timed(what: str) -> Iterator[None]:
    began = time.monotonic()
    yield
    if (seconds := time.monotonic() - began) >= _LONG_SECONDS:
        get_run_logger().info("%s took %.0f s.", what, seconds)

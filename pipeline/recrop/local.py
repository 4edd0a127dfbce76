"""A whole recrop in this process, without Prefect."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from pipeline.images import warm_up
from pipeline.progress import Snapshot
from pipeline.recrop.batch import Recrop, Target, plan
from pipeline.recrop.chunk import recrop_chunk
from pipeline.recrop.settings import RecropSettings
from pipeline.report import write_report
from pipeline.retries import retried
from pipeline.summary import Summary
from pipeline.window import crop_chunks, in_threads

DEFAULTS = RecropSettings()

_log = logging.getLogger(__name__)


def recrop(
    output: str,
    into: str,
    settings: RecropSettings = DEFAULTS,
    on_progress: Callable[[Snapshot], None] = lambda _: None,
) -> list[Summary]:
    """Cut the faces of a finished batch out another way, or in several; nothing is searched again.

    What comes out is laid out as a batch's output is: crops, a row for every member in
    `manifest.parquet`, a row a face in `faces.parquet`. Cut as the batch was, crops are the same
    byte for byte.

    Args:
        output: of the batch, a path or URI. It is only read, and so is its archive, of which
            nothing but the photographs with wanted faces is.
        into: the output to be made; of several ways, the folder in which each has one. Run again
            with the same arguments, it completes what is missing.
        settings: everything that may be chosen.
        on_progress: called with the counts so far, a few times a second and once at the end, in
            the calling thread.

    Returns:
        What came of each output, in the order of `settings.cuts`.

    Raises:
        ArchiveError: the archive is gone, or no longer the one that the batch was made of.
        OutputError: there is no finished batch, or an output cannot be used, or is another's.
        TransientError: storage failed on every attempt; run it again to go on.
    """
    started = time.monotonic()
    warm_up(settings.run.threads)
    batch = retried(lambda _: plan(output, into, settings))

    def tick() -> None:
        on_progress(batch.progress.snapshot())

    members, count = crop_chunks(batch, batch.chunks(), tick, in_threads(batch, recrop_chunk))
    for line in batch.archive.notes:
        _log.warning("%s: %s", batch.archive.uri, line)

    def finished(target: Target) -> Summary:
        return retried(lambda _: finish(batch, target, members, count, started))

    summaries = [finished(target) for target in batch.targets]
    tick()
    return summaries


def finish(batch: Recrop, target: Target, members: int, chunks: int, started: float) -> Summary:
    """Write the tables and the report of one output.

    Args:
        batch, target: the recrop and its output.
        members, chunks: how many there are.
        started: when the run was, by the monotonic clock.
    """
    totals = target.output.finish(members, chunks, batch.notes, batch.roster)
    seconds = time.monotonic() - started
    summary = batch.summary_of(target, totals, batch.progress.resumed, seconds)
    write_report(target.output, summary)
    return summary

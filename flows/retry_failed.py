"""The failed images of a finished batch, once more."""

import time
from collections.abc import Iterator
from contextlib import suppress

import httpx
from prefect import flow

from pipeline.settings import LimitSettings, RunSettings
from pipeline.summary import Summary
from pipeline.window import crop_chunks
from storage.archives.members import Chunk
from tasks.crop_chunk import retry_failed_members
from tasks.lifecycle.outlive import outlive_server
from tasks.logs import plain_logs
from tasks.plan import finish, reopen, write_report
from tasks.reporting.dashboard import show_failures
from tasks.reporting.page import code
from tasks.reporting.reporter import Reporter
from tasks.window import task_runs

DEFAULTS = RunSettings()


@flow(name="retry-failed", flow_run_name="failed images of {output}")
def retry_failed(
    output: str, run: RunSettings = DEFAULTS, limits: LimitSettings | None = None
) -> Summary:
    """Retry the failed members of a finished batch, into the same output.

    The manifest keeps one row a member, in which `attempts` counts. What no second try mends, such
    as a damaged image, fails again.

    Args:
        output: of the batch.
        run: how this run is to work; the rest is as the batch was made.
        limits: those that are given are raised for this run, for members that failed by them.

    Raises:
        ArchiveError: the archive is gone, or has changed since.
        OutputError: there is no finished batch at the output.
        TransientError: storage failed on every attempt; run it again to go on.
    """
    plain_logs()
    outlive_server()
    started = time.monotonic()
    batch, failed = reopen(output, run, limits)
    reporter = Reporter(batch.progress, f"the failed members of {code(batch.archive.uri)}")
    members = chunks = 0

    def with_failures() -> Iterator[Chunk]:
        nonlocal members, chunks
        for chunk in batch.chunks():
            members, chunks = members + chunk.count, chunks + 1
            if chunk.number in failed:
                yield chunk

    crop_chunks(batch, with_failures(), reporter.tick, task_runs(batch, retry_failed_members))
    totals = finish(batch, members, chunks)
    seconds = time.monotonic() - started
    summary = batch.summary(totals, None, seconds)
    write_report(batch, summary)
    reporter.finish()
    if summary.failed:
        with suppress(httpx.HTTPError):
            show_failures(summary, batch.output)
    return summary

"""The failed images of a finished batch, once more."""

import time
from collections.abc import Iterator

from prefect import flow

from storage.members import Chunk
from tasks.batch import reopen
from tasks.crop_chunk import retry_failed_members
from tasks.dashboard import show_failures
from tasks.finish import finish
from tasks.logs import plain_logs
from tasks.page import code
from tasks.report import write_report
from tasks.reporter import Reporter
from tasks.settings import RunSettings
from tasks.summary import Summary
from tasks.window import crop_chunks

DEFAULTS = RunSettings()


@flow(name="retry-failed", flow_run_name="failed images of {output}")
def retry_failed(output: str, run: RunSettings = DEFAULTS) -> Summary:
    """Drives the failed members of a finished batch again, into the same output.

    The manifest keeps one row a member, in which `attempts` counts. What no second try mends, such
    as a damaged image, fails again.

    Args:
        output: of the batch.
        run: how this run is to work; the rest is as the batch was made.

    Raises:
        ArchiveError: the archive is gone, or has changed since.
        OutputError: there is no finished batch at the output.
        TransientError: storage failed on every attempt; run it again to go on.
    """
    plain_logs()
    started = time.monotonic()
    batch, failed = reopen(output, run)
    reporter = Reporter(batch.progress, f"the failed members of {code(batch.archive.uri)}")
    members = chunks = 0

    def with_failures() -> Iterator[Chunk]:
        nonlocal members, chunks
        for chunk in batch.archive.chunks(batch.chunk_size):
            members, chunks = members + chunk.count, chunks + 1
            if chunk.number in failed:
                yield chunk

    crop_chunks(batch, with_failures(), reporter.tick, retry_failed_members)
    reporter.finish()
    totals = finish(batch, members, chunks)
    seconds = time.monotonic() - started
    summary = Summary.of(batch.archive.uri, batch.output.uri, totals, None, seconds)
    write_report(batch.output, summary)
    if summary.failed:
        show_failures(summary, batch.output)
    return summary

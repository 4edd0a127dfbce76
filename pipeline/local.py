"""A whole batch in this process, without Prefect."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from pipeline.batch import plan
from pipeline.chunk import crop_chunk
from pipeline.images import warm_up
from pipeline.progress import Snapshot
from pipeline.report import write_report
from pipeline.retries import retried
from pipeline.settings import CropSettings
from pipeline.summary import Summary
from pipeline.window import crop_chunks, in_threads

DEFAULTS = CropSettings()

_log = logging.getLogger(__name__)


def crop(
    archive: str,
    output: str,
    settings: CropSettings = DEFAULTS,
    on_progress: Callable[[Snapshot], None] = lambda _: None,
) -> Summary:
    """Find every face in an archive of photographs and cut each one out.

    What comes out is what the flow `crop_archive` makes, byte for byte.

    Args:
        archive: a ZIP, a TAR (compressed or not), a folder of images or a text file of image URIs;
            a path or an s3://, http(s):// or other fsspec URI.
        output: a folder or prefix, as a path or a URI. Run again with the same archive, output and
            settings, it completes what is missing.
        settings: everything that may be chosen.
        on_progress: called with the counts so far, a few times a second and once at the end, in
            the calling thread.

    Returns:
        How many members came to what, how many faces there are, and the seconds that it took. What
        was made of each is at the output: a row a member in `manifest.parquet`, whose boxes,
        landmarks and crop rectangles in `faces.parquet` are in pixels of the upright image.

    Raises:
        ArchiveError: the archive cannot be used; the message says why and what to do.
        OutputError: the output cannot be used, or holds another batch.
        TransientError: storage failed on every attempt; run it again to go on.
    """
    started = time.monotonic()
    warm_up(settings.run.threads)
    batch = retried(lambda _: plan(archive, output, settings))

    def tick() -> None:
        on_progress(batch.progress.snapshot())

    members, count = crop_chunks(batch, batch.chunks(), tick, in_threads(batch, crop_chunk))
    for line in batch.notes:
        _log.warning("%s: %s", batch.archive.uri, line)
    totals = retried(lambda _: batch.finish(members, count))
    seconds = time.monotonic() - started
    summary = batch.summary(totals, batch.progress.resumed, seconds)
    if not batch.idle:
        retried(lambda _: write_report(batch.output, summary))
    tick()
    return summary

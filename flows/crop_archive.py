"""An archive of photographs to face crops and a manifest."""

import os
import time
from collections import deque
from typing import Any

from prefect import flow
from prefect.futures import PrefectFuture
from prefect.task_runners import ThreadPoolTaskRunner

from tasks.batch import Batch, plan
from tasks.crop_chunk import detect_and_crop
from tasks.finish import finish, report
from tasks.logs import plain_logs
from tasks.reporter import Reporter
from tasks.settings import CropSettings
from tasks.summary import Summary

DEFAULTS = CropSettings()
_TICK_SECONDS = 0.25


@flow(name="crop-archive", flow_run_name="{archive}")
def crop_archive(archive: str, output: str, settings: CropSettings = DEFAULTS) -> Summary:
    """Finds every face in an archive of photographs and cuts each one out.

    The output is a folder or prefix with `crops/`, `manifest.parquet` (a row for every member),
    `faces.parquet` and `failed.csv`. Run again with the same archive, output and settings, it
    completes what is missing.

    Args:
        archive: a ZIP, TAR, TAR.GZ or TAR.ZST, a folder of images, or a text file of image URIs;
            a path or an s3://, http(s):// or other fsspec URI.
        output: a folder or prefix, as a path or a URI.
        settings: everything that may be chosen.

    Raises:
        ArchiveError: the archive cannot be used; the message says why and what to do.
        OutputError: the output cannot be used, or holds another batch.
        TransientError: storage failed on every attempt; run it again to go on.
    """
    plain_logs()
    started = time.monotonic()
    batch = plan(archive, output, settings)
    members, chunks = _crop(batch)
    totals = finish(batch, members, chunks)
    seconds = time.monotonic() - started
    summary = Summary.of(
        batch.archive.uri, batch.output.uri, totals, batch.progress.resumed, seconds
    )
    report(summary, batch.output)
    return summary


def _crop(batch: Batch) -> tuple[int, int]:
    """Maps the chunks that are not done over a pool of threads. Returns members and chunks in all.

    The map is a window that slides: an archive may have a million members, so neither the chunks
    nor their futures are ever all in memory.
    """
    threads = batch.settings.run.threads or _cores() + 1
    reporter = Reporter(batch.progress, batch.archive.uri)
    window: deque[PrefectFuture[int]] = deque()
    members = chunks = 0
    with ThreadPoolTaskRunner[Any](max_workers=threads) as runner:
        try:
            for chunk in batch.archive.chunks(batch.chunk_size):
                members, chunks = members + chunk.count, chunks + 1
                if chunk.number in batch.done:
                    batch.progress.resume(chunk.count)
                    continue
                window.append(runner.submit(detect_and_crop, {"batch": batch, "chunk": chunk}))
                if len(window) > threads:
                    _wait(window.popleft(), reporter)
            while window:
                _wait(window.popleft(), reporter)
        except BaseException:
            batch.stop.set()  # the pool waits for its threads; let them give up at the next image
            raise
    reporter.finish()
    return members, chunks


def _wait(future: PrefectFuture[int], reporter: Reporter) -> None:
    while True:
        try:
            future.result(timeout=_TICK_SECONDS)
            break
        except TimeoutError:
            reporter.tick()
    reporter.tick()


def _cores() -> int:
    """Cores that this process may use, where the system tells."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1

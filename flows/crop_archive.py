"""An archive of photographs to face crops and a manifest."""

import time
from typing import Annotated

from prefect import flow
from pydantic import Field

from pipeline.batch import Batch
from pipeline.settings import CropSettings
from pipeline.summary import Summary
from pipeline.window import crop_chunks
from tasks.lifecycle.crashes import note_progress, refuse_endless_crashes
from tasks.lifecycle.outlive import noting_outcome, outlive_server
from tasks.logs import plain_logs
from tasks.plan import finish, plan, write_report
from tasks.reporting.dashboard import Dashboard
from tasks.reporting.names import batch_name
from tasks.reporting.page import code
from tasks.reporting.reporter import Reporter
from tasks.shards import crop_shards, plan_shards
from tasks.window import task_runs

DEFAULTS = CropSettings()


@flow(name="crop-archive", flow_run_name=batch_name)
def crop_archive(
    archive: str,
    output: str,
    settings: CropSettings = DEFAULTS,
    work_pool: str = "",
    priority: Annotated[int, Field(ge=1, le=10)] = 5,
) -> Summary:
    """Find every face in an archive of photographs and cut each one out.

    The output is a folder or prefix with `crops/`, `manifest.parquet` (a row for every member),
    `faces.parquet` and `failed.csv`. Run again with the same archive, output and settings, it
    completes what is missing.

    Args:
        archive: a ZIP, a TAR (compressed or not), a folder of images or a text file of image URIs;
            a path or an s3://, http(s):// or other fsspec URI.
        output: a folder or prefix, as a path or a URI.
        settings: everything that may be chosen.
        work_pool: process, docker or kubernetes: the work pool that shards of a large archive are
            handed to. Empty: all is done by this run.
        priority: 1 (first) to 10 of the shards on the work pool.

    Raises:
        ArchiveError: the archive cannot be used; the message says why and what to do.
        OutputError: the output cannot be used, or holds another batch.
        TransientError: storage failed on every attempt; run it again to go on.
        ShardError: a shard failed on every attempt; run it again to go on.
        CrashedError: its process died again and again and got nothing done; run it again to go on.
    """
    plain_logs()
    outlive_server()
    with noting_outcome() as outcome:
        outcome.summary = _crop(archive, output, settings, work_pool, priority)
        return outcome.summary


def _crop(
    archive: str, output: str, settings: CropSettings, work_pool: str, priority: int
) -> Summary:
    crashes = refuse_endless_crashes()
    started = time.monotonic()
    batch = plan(archive, output, settings)
    dashboard = Dashboard(batch)
    outlives = note_progress(crashes, batch.progress)
    reporter = Reporter(batch.progress, code(batch.archive.uri), dashboard.update, outlives)
    # A compressed TAR can only be read in order, so there is nothing to hand out; nor is there in a
    # batch of one shard, which this run crops itself.
    held = None if batch.idle else batch.archive.members
    if work_pool and held is not None and held > settings.run.shard_members:
        members, chunks = _crop_on(work_pool, priority, batch, reporter)
    else:
        members, chunks = crop_chunks(batch, batch.chunks(), reporter.tick, task_runs(batch))
    totals = finish(batch, members, chunks)
    seconds = time.monotonic() - started
    summary = batch.summary(totals, batch.progress.resumed, seconds)
    write_report(batch, summary)
    reporter.finish()
    dashboard.end(summary)
    return summary


def _crop_on(work_pool: str, priority: int, batch: Batch, reporter: Reporter) -> tuple[int, int]:
    reporter.tick()  # planning takes seconds where there are a million members
    planned = plan_shards(batch)
    crop_shards(batch, planned.shards, f"crop-shard/{work_pool}", priority, reporter)
    return planned.members, planned.chunks

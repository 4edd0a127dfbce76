"""The beginning and the end of a batch, as Prefect tasks."""

from __future__ import annotations

from prefect import task
from prefect.logging import get_run_logger

from pipeline import batch as plain
from pipeline import report
from pipeline.batch import Batch
from pipeline.settings import CropSettings
from storage.output.counts import Counts
from tasks.lifecycle.current import current_run
from tasks.retries import task_options


@task(name="plan", task_run_name="plan", **task_options())
def plan(archive: str, output: str, settings: CropSettings) -> Batch:
    """Run `pipeline.batch.plan` in the name of the current flow run."""
    run = current_run()
    return plain.plan(archive, output, settings, str(run.id), run.created)


open_shard = task(name="open", task_run_name="open shard {shard}", **task_options())(
    plain.open_shard
)
reopen = task(name="reopen", task_run_name="reopen", **task_options())(plain.reopen)


@task(name="finish", **task_options())
def finish(batch: Batch, members: int, chunks: int) -> Counts:
    """Write the batch's tables from its parts.

    Raises:
        AccountingError: not every member is there exactly once.
    """
    for line in batch.archive.notes:
        get_run_logger().warning("%s: %s", batch.archive.uri, line)
    return batch.output.finish(members, chunks, batch.archive.notes)


write_report = task(name="report", **task_options())(report.write_report)

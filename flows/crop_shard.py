"""One work-pool run's share of a batch."""

from prefect import flow

from pipeline.settings import CropSettings
from pipeline.window import crop_chunks
from tasks.lifecycle.concurrency import shard_slot
from tasks.lifecycle.outlive import outlive_server
from tasks.logs import plain_logs
from tasks.plan import open_shard
from tasks.reporting.names import shard_name
from tasks.reporting.page import code
from tasks.reporting.reporter import Reporter
from tasks.window import task_runs


@flow(name="crop-shard", flow_run_name=shard_name)
def crop_shard(
    archive: str, output: str, shard: int, settings: CropSettings, batch: str = ""
) -> int:
    """Crops one shard of a batch that `crop-archive` has planned, and is started by it.

    Args:
        archive: as the batch has it.
        output: as the batch has it.
        shard: its number in the batch's plan.
        settings: the batch's.
        batch: its id; the shard of another batch, which has lost its output, is not begun.

    Returns:
        How many members the shard has.
    """
    plain_logs()
    outlive_server()
    with shard_slot():
        opened, chunks = open_shard(archive, output, shard, settings, batch)
        reporter = Reporter(opened.progress, f"shard {shard} of {code(archive)}")
        members, _ = crop_chunks(opened, chunks, reporter.tick, task_runs(opened))
        reporter.finish()
    return members

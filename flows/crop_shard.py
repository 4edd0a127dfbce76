"""One work-pool run's share of a batch."""

from prefect import flow

from tasks.batch import open_shard
from tasks.limits import shard_slot
from tasks.logs import plain_logs
from tasks.naming import shard_name
from tasks.page import code
from tasks.reporter import Reporter
from tasks.settings import CropSettings
from tasks.window import crop_chunks


@flow(name="crop-shard", flow_run_name=shard_name)
def crop_shard(archive: str, output: str, shard: int, settings: CropSettings) -> int:
    """Crops one shard of a batch that `crop-archive` has planned, and is started by it.

    Args:
        archive: as the batch has it.
        output: as the batch has it.
        shard: its number in the batch's plan.
        settings: the batch's.

    Returns:
        How many members the shard has.
    """
    plain_logs()
    with shard_slot():
        batch, chunks = open_shard(archive, output, shard, settings)
        reporter = Reporter(batch.progress, f"shard {shard} of {code(archive)}")
        members, _ = crop_chunks(batch, chunks, reporter.tick)
        reporter.finish()
    return members

"""The end of a batch: its tables, from its parts."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from storage.manifest import Totals
from tasks.batch import Batch
from tasks.retries import RETRY_TRANSIENT


@task(name="finish", cache_policy=NO_CACHE, **RETRY_TRANSIENT)
def finish(batch: Batch, members: int, chunks: int) -> Totals:
    """Writes the batch's tables from its parts.

    Raises:
        AccountingError: not every member is there exactly once.
    """
    return batch.output.finish(members, chunks)

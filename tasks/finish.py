"""The end of a batch: its tables, and what people read of it in the Prefect UI."""

from __future__ import annotations

from prefect import task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE

from storage.manifest import Totals
from tasks.batch import Batch
from tasks.retries import RETRY_TRANSIENT

FAILURES_SHOWN = 100


@task(name="finish", cache_policy=NO_CACHE, **RETRY_TRANSIENT)
def finish(batch: Batch, members: int, chunks: int) -> Totals:
    """Writes the batch's tables from its parts.

    Raises:
        AccountingError: not every member is there exactly once.
    """
    return batch.output.finish(members, chunks)


def report(batch: Batch, totals: Totals, seconds: float) -> None:
    """Leaves the summary and the failures on the flow run's page."""
    rate = totals.members / seconds if seconds else 0.0
    lines = [
        f"## {batch.archive.uri}",
        "",
        "| | |",
        "|---|---:|",
        f"| Members | {totals.members:,} |",
        f"| Cropped | {totals.cropped:,} |",
        f"| Faces | {totals.faces:,} |",
        f"| Without a face | {totals.no_face:,} |",
        f"| Skipped, no images | {totals.skipped:,} |",
        f"| Failed | {totals.failed:,} |",
        *(f"| Failed: `{code}` | {count:,} |" for code, count in totals.errors.most_common()),
        f"| Seconds in this run | {seconds:,.1f} |",
        f"| Members a second | {rate:,.1f} |",
        "",
        f"Output: `{batch.output.uri}`",
    ]
    create_markdown_artifact("\n".join(lines), key="batch-summary", description="What came of it")
    if totals.failed:
        failures = batch.output.failures(FAILURES_SHOWN)
        shown = f"The first {len(failures)} of {totals.failed:,}; all are in failed.csv."
        create_table_artifact(failures, key="failed-images", description=shown)

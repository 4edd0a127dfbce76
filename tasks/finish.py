"""The end of a batch: its tables, and what people read of it in the Prefect UI."""

from __future__ import annotations

from prefect import task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE

from storage.manifest import Totals
from storage.output import Output
from tasks.batch import Batch
from tasks.retries import RETRY_TRANSIENT
from tasks.summary import Summary

FAILURES_SHOWN = 100


@task(name="finish", cache_policy=NO_CACHE, **RETRY_TRANSIENT)
def finish(batch: Batch, members: int, chunks: int) -> Totals:
    """Writes the batch's tables from its parts.

    Raises:
        AccountingError: not every member is there exactly once.
    """
    return batch.output.finish(members, chunks)


def report(summary: Summary, output: Output) -> None:
    """Leaves the summary and the failures on the flow run's page."""
    rate = summary.images_per_second
    rows = {
        "Members": summary.members,
        "With a face": summary.cropped,
        "Faces": summary.faces,
        "Without a face": summary.no_face,
        "Skipped, no images": summary.skipped,
        "Failed": summary.failed,
        **{f"Failed: `{code}`": count for code, count in summary.errors.items()},
        **({"Done by earlier runs": summary.resumed} if summary.resumed else {}),
        "Seconds": round(summary.seconds),
        **({"Members a second": round(rate, 1)} if rate else {}),
    }
    table = "\n".join(f"| {name} | {value:,} |" for name, value in rows.items())
    create_markdown_artifact(
        f"## {summary.archive}\n\n| | |\n|---|---:|\n{table}\n\nOutput: `{summary.output}`\n",
        key="batch-summary",
        description="What came of the batch",
    )
    if summary.failed:
        failures = output.failures(FAILURES_SHOWN)
        shown = f"The first {len(failures)} of {summary.failed:,}; all are in failed.csv."
        create_table_artifact(failures, key="failed-images", description=shown)

"""A batch's page in the Prefect UI: summary, pictures and failures, kept up to date."""

from __future__ import annotations

import json
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.runtime import flow_run

from storage.output import Output
from tasks import page
from tasks.artifacts import RunArtifact
from tasks.batch import Batch
from tasks.naming import batch_name, ended_name, worker_of
from tasks.progress import Snapshot
from tasks.summary import Summary

FAILURES_SHOWN = 100


class Dashboard:
    """What the current flow run shows of its batch, besides its progress.

    Args:
        batch: in hand.
    """

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self._own = worker_of(get_client(sync_client=True).read_flow_run(UUID(flow_run.get_id())))
        self._summary = RunArtifact(
            "batch-summary", "markdown", self._running(batch.progress.snapshot()), "The batch"
        )

    def update(self, snapshot: Snapshot) -> None:
        """Shows how far it is, and the first crops as soon as there are enough."""
        self._summary.update(self._running(snapshot))

    def end(self, summary: Summary) -> None:
        """Shows what came of it, and names the run after that."""
        self._summary.update(page.ended(summary, self._workers()))
        output = self._batch.output
        if summary.failed:
            show_failures(summary, output)
        client = get_client(sync_client=True)
        client.update_flow_run(UUID(flow_run.get_id()), name=ended_name(batch_name(), summary))

    def _running(self, snapshot: Snapshot) -> str:
        archive, output = self._batch.archive.uri, self._batch.output.uri
        return page.running(archive, output, snapshot, self._workers())

    def _workers(self) -> dict[str, int]:
        return self._batch.progress.by_worker(self._own or "this run")


def show_failures(summary: Summary, output: Output) -> None:
    """A table of the first failures, and where the others are."""
    failures = output.failures(FAILURES_SHOWN)
    shown = f"The first {len(failures)} of {summary.failed:,}; all are in {output.uri}/failed.csv"
    RunArtifact("failed-images", "table", json.dumps(failures), shown)

"""Says how a batch is getting on: a log line, the run's artifacts, and whoever listens."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any
from uuid import UUID

import httpx
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    ArtifactFilterKey,
)
from prefect.logging import get_run_logger
from prefect.runtime import flow_run

from tasks.counts import COUNTS_KEY, to_rows
from tasks.pausing import leave_if_suspended
from tasks.progress import Progress, Snapshot, describe

LISTENER: ContextVar[Callable[[Snapshot], None] | None] = ContextVar("listener", default=None)
"""Set by a caller in the same process that wants every snapshot, such as a progress bar."""

PROGRESS_KEY = "batch-progress"
_REPORT_SECONDS = 4.0


class Reporter:
    """Reports on one batch or shard, from within its flow run.

    Args:
        progress: what is counted.
        subject: what is being worked on, for people.
    """

    def __init__(self, progress: Progress, subject: str) -> None:
        self._progress = progress
        self._log = get_run_logger()
        self._next_report = time.monotonic() + _REPORT_SECONDS
        snapshot = progress.snapshot()
        self._bar = _artifact(
            PROGRESS_KEY, "progress", 100 * snapshot.share, f"Images of {subject} done"
        )
        self._table = _artifact(
            COUNTS_KEY, "table", json.dumps(to_rows(snapshot)), f"Images of {subject}"
        )

    def tick(self) -> None:
        """To be called a few times a second; reports when it is due.

        Raises:
            Pause: the batch was suspended.
        """
        snapshot = self._tell()
        if time.monotonic() >= self._next_report:
            self._next_report = time.monotonic() + _REPORT_SECONDS
            self._log.info(describe(snapshot))
            try:
                self._update(snapshot)
                leave_if_suspended()
            except httpx.HTTPError as error:  # a batch does not end because nobody can look at it
                self._log.warning("The Prefect server did not answer (%s).", error)

    def finish(self) -> None:
        """Reports the end."""
        self._update(self._tell())

    def _tell(self) -> Snapshot:
        snapshot = self._progress.snapshot()
        listener = LISTENER.get()
        if listener is not None:
            listener(snapshot)
        return snapshot

    def _update(self, snapshot: Snapshot) -> None:
        client = get_client(sync_client=True)
        client.update_artifact(self._bar, ArtifactUpdate(data=100 * snapshot.share))
        client.update_artifact(self._table, ArtifactUpdate(data=json.dumps(to_rows(snapshot))))


def _artifact(key: str, kind: str, data: Any, description: str) -> UUID:
    """The current run's artifact of a key: made, unless an earlier attempt of the run has it."""
    run = UUID(flow_run.get_id())
    client = get_client(sync_client=True)
    there = client.read_artifacts(
        artifact_filter=ArtifactFilter(
            flow_run_id=ArtifactFilterFlowRunId(any_=[run]), key=ArtifactFilterKey(any_=[key])
        ),
        limit=1,
    )
    if there:
        return there[0].id
    made = ArtifactCreate(key=key, type=kind, data=data, description=description, flow_run_id=run)
    return client.create_artifact(made).id

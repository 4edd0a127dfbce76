"""Says how a batch is getting on: a log line, a progress artifact, and whoever listens."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import cast
from uuid import UUID

import httpx
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    ArtifactFilterKey,
)
from prefect.logging import get_run_logger

from tasks.progress import Progress, Snapshot, describe

LISTENER: ContextVar[Callable[[Snapshot], None] | None] = ContextVar("listener", default=None)
"""Set by a caller in the same process that wants every snapshot, such as a progress bar."""

PROGRESS_KEY = "batch-progress"
_LOG_SECONDS = 5.0


def shares(client: SyncPrefectClient, runs: list[UUID]) -> dict[UUID, float]:
    """How much of its work each flow run has done, 0 to 1, by their progress artifacts."""
    artifacts = client.read_artifacts(
        artifact_filter=ArtifactFilter(
            flow_run_id=ArtifactFilterFlowRunId(any_=runs),
            key=ArtifactFilterKey(any_=[PROGRESS_KEY]),
        ),
        limit=len(runs),
    )
    return {
        artifact.flow_run_id: float(str(artifact.data)) / 100
        for artifact in artifacts
        if artifact.flow_run_id is not None
    }


class Reporter:
    """Reports on one batch, from within its flow run.

    Args:
        progress: what is counted.
        archive: its URI, for people.
    """

    def __init__(self, progress: Progress, archive: str) -> None:
        self._progress = progress
        self._log = get_run_logger()
        self._next_log = time.monotonic() + _LOG_SECONDS
        description = f"Images of {archive} done"
        self._artifact = (
            cast(  # Prefect types it as perhaps a coroutine, which it is in async flows
                UUID, create_progress_artifact(0.0, key=PROGRESS_KEY, description=description)
            )
        )

    def tick(self) -> None:
        """To be called a few times a second; reports when it is due."""
        snapshot = self._tell()
        if time.monotonic() >= self._next_log:
            self._next_log = time.monotonic() + _LOG_SECONDS
            self._log.info(describe(snapshot))
            try:
                update_progress_artifact(self._artifact, 100 * snapshot.share)
            except httpx.HTTPError as error:  # a batch does not end because nobody can look at it
                self._log.warning("The Prefect server did not answer (%s).", error)

    def finish(self) -> None:
        """Reports the end."""
        self._tell()
        update_progress_artifact(self._artifact, 100.0)

    def _tell(self) -> Snapshot:
        snapshot = self._progress.snapshot()
        listener = LISTENER.get()
        if listener is not None:
            listener(snapshot)
        return snapshot

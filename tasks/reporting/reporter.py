"""Says how a batch is getting on: a log line, the run's artifacts, and whoever listens."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar

import httpx
from prefect.logging import get_run_logger

from pipeline.progress import Progress, Snapshot, describe
from tasks.lifecycle.server import impatient, is_away
from tasks.lifecycle.suspension import leave_if_suspended
from tasks.reporting.artifacts import RunArtifact
from tasks.reporting.counts import COUNTS_KEY, to_rows

LISTENER: ContextVar[Callable[[Snapshot], None] | None] = ContextVar("listener", default=None)
"""Set by a caller in the same process that wants every snapshot, such as a progress bar."""

_REPORT_SECONDS = 4.0  # a batch that is over by then shows its end alone, at half the requests


class Reporter:
    """Reports on one batch or shard, from within its flow run.

    Args:
        progress: what is counted.
        subject: what is being worked on, as Markdown for people.
        also: what else to call with each report but the last.
    """

    def __init__(
        self,
        progress: Progress,
        subject: str,
        *also: Callable[[Snapshot], None],
    ) -> None:
        self._progress = progress
        self._also = also
        self._log = get_run_logger()
        self._next_report = time.monotonic() + _REPORT_SECONDS
        self._bar = RunArtifact("batch-progress", "progress", f"Images of {subject} done")
        self._table = RunArtifact(COUNTS_KEY, "table", f"Images of {subject}")
        self._shown = False

    def tick(self) -> None:
        """To be called a few times a second; reports whenever that is due.

        Raises:
            Pause: the batch was suspended.
        """
        snapshot = self._tell()
        now = time.monotonic()
        if now < self._next_report:
            return
        self._next_report = now + _REPORT_SECONDS
        self._log.info(describe(snapshot))
        if is_away():
            return
        try:
            with impatient():
                self._update(snapshot)
                leave_if_suspended()
        except httpx.HTTPError as error:  # a batch does not end because nobody can see it
            self._log.warning("The Prefect server did not answer (%s).", error)

    def finish(self) -> None:
        """Report the end, except to those that get the summary."""
        snapshot = self._tell()
        with suppress(httpx.HTTPError):
            self._show(snapshot)

    def _tell(self) -> Snapshot:
        snapshot = self._progress.snapshot()
        listener = LISTENER.get()
        if listener is not None:
            listener(snapshot)
        return snapshot

    def _show(self, snapshot: Snapshot) -> None:
        if self._shown:  # of a batch that is over before, its end says all
            self._bar.show(100 * snapshot.share)
        self._table.show(json.dumps(to_rows(snapshot)))

    def _update(self, snapshot: Snapshot) -> None:
        self._shown = True
        self._show(snapshot)
        for update in self._also:
            update(snapshot)

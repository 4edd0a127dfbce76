"""Says how a batch is getting on: a log line, a progress artifact, and whoever listens."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextvars import ContextVar

from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.logging import get_run_logger

from tasks.progress import Progress, Snapshot

LISTENER: ContextVar[Callable[[Snapshot], None] | None] = ContextVar("listener", default=None)
"""Set by a caller in the same process that wants every snapshot, such as a progress bar."""

_LOG_SECONDS = 5.0


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
        self._artifact = create_progress_artifact(
            0.0, key="batch-progress", description=f"Images of {archive} done"
        )

    def tick(self) -> None:
        """To be called a few times a second; reports when it is due."""
        snapshot = self._tell()
        if time.monotonic() >= self._next_log:
            self._next_log = time.monotonic() + _LOG_SECONDS
            self._log.info(describe(snapshot))
            self._move(snapshot)

    def finish(self) -> None:
        """Reports the end."""
        self._move(self._tell())

    def _tell(self) -> Snapshot:
        snapshot = self._progress.snapshot()
        listener = LISTENER.get()
        if listener is not None:
            listener(snapshot)
        return snapshot

    def _move(self, snapshot: Snapshot) -> None:
        update_progress_artifact(self._artifact, 100 * snapshot.share)


def describe(snapshot: Snapshot) -> str:
    """One line: how many of how many, how fast, how long still, how many failed."""
    total = "" if snapshot.total is None else f" of {snapshot.total:,}"
    left = snapshot.seconds_left
    time_left = "" if left is None else f", {duration(left)} left"
    failed = f", {snapshot.failed:,} failed" if snapshot.failed else ""
    rate = f"{snapshot.images_per_second:,.1f} images/s"
    return f"{snapshot.done:,}{total} images, {rate}{time_left}{failed}"


def duration(seconds: float) -> str:
    """Seconds as `45 s`, `12 min 5 s` or `3 h 20 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"

"""A batch's progress in a terminal; where there is none, a line now and then."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

from tasks.progress import Snapshot, describe, duration

_LINE_SECONDS = 10.0


class Bar:
    """Shows snapshots on standard error.

    Args:
        name: what is being worked on.
        shown: False for silence.
    """

    def __init__(self, name: str, *, shown: bool) -> None:
        self._name = name
        self._lines = shown and not sys.stderr.isatty()
        self._next_line = time.monotonic() + _LINE_SECONDS
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[numbers]}"),
            console=Console(stderr=True),
            transient=True,
            expand=True,
            disable=not shown or self._lines,
        )
        self._task = self._progress.add_task(name, total=None, numbers="starting Prefect")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def show(self, snapshot: Snapshot) -> None:
        """The newest state."""
        self._progress.update(
            self._task, completed=snapshot.share, total=1, numbers=_numbers(snapshot)
        )
        if self._lines and time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + _LINE_SECONDS
            print(f"{self._name}: {describe(snapshot)}", file=sys.stderr)


def _numbers(snapshot: Snapshot) -> str:
    counts, left = snapshot.counts, snapshot.seconds_left
    total = "" if snapshot.total is None else f"/{snapshot.total:,}"
    failed = f"[red]{counts.failed:,} failed[/]" if counts.failed else "0 failed"
    parts = [
        f"{counts.members:,}{total} images",
        f"{counts.faces:,} faces",
        failed,
        f"{snapshot.images_per_second:,.1f} images/s",
        "" if left is None else f"{duration(left)} left",
    ]
    return "  ".join(filter(None, parts))

"""A batch's progress in a terminal; where there is none, a line now and then."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn
from rich.table import Column
from rich.text import Text

from tasks.progress import Snapshot, duration

if TYPE_CHECKING:
    from intake.batches import Status

_LINE_SECONDS = 10.0
_FAILURES = re.compile(r"\b[1-9][\d,]* failed")


def figures(seen: Snapshot | Status) -> str:
    """What every view of a batch tells: images, faces, failed, images/s and the time left."""
    counts, left = seen.counts, seen.seconds_left
    total = "" if seen.total is None else f"/{seen.total:,}"
    parts = [
        f"{counts.members:,}{total} images",
        f"{counts.faces:,} faces",
        f"{counts.failed:,} failed",
        f"{seen.images_per_second:,.1f} images/s" if seen.images_per_second else "",
        "" if left is None else f"{duration(left)} left",
    ]
    return "  ".join(filter(None, parts))


class Bar:
    """Shows how far a batch is on standard error.

    Args:
        name: what is being worked on.
        shown: False for silence.

    Attributes:
        name: may be given anew at any time.
    """

    def __init__(self, name: str, *, shown: bool) -> None:
        self.name = name
        self._lines = shown and not sys.stderr.isatty()
        self._next_line = time.monotonic() + _LINE_SECONDS
        self._progress = _TwoLines(disable=not shown or self._lines)
        self._task = self._progress.add_task(name, total=None)

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

    def show(self, seen: Snapshot | Status) -> None:
        """The newest state."""
        self._progress.below = figures(seen)
        self._progress.update(self._task, description=self.name, completed=seen.share, total=1)
        if self._lines and time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + _LINE_SECONDS
            print(f"{self.name}: {figures(seen)}", file=sys.stderr)


class _TwoLines(Progress):
    """A name with its bar, and below it the figures, which alone fill a narrow terminal."""

    def __init__(self, *, disable: bool) -> None:
        self.below = "starting"
        super().__init__(
            SpinnerColumn(),
            # what comes from outside is no markup
            TextColumn("{task.description}", markup=False, table_column=Column(ratio=2)),
            BarColumn(bar_width=None, table_column=Column(ratio=1)),
            TaskProgressColumn(),
            console=Console(stderr=True),
            transient=True,
            expand=True,
            disable=disable,
        )

    def get_renderables(self) -> Iterator[RenderableType]:
        yield self.make_tasks_table(self.tasks)
        below = Text(f"  {self.below}")
        below.highlight_regex(_FAILURES, "red")
        yield below

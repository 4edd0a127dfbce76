"""A progress bar of two lines, drawn by rich."""

from __future__ import annotations

import re
from collections.abc import Iterator

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn
from rich.table import Column
from rich.text import Text

_FAILURES = re.compile(r"\b[1-9][\d,]* failed")


class TwoLines(Progress):
    """A name with its bar, and below it the figures, which alone fill a narrow terminal."""

    def __init__(self, name: str) -> None:
        self._below = "starting"
        super().__init__(
            SpinnerColumn(),
            # what comes from outside is no markup
            TextColumn("{task.description}", markup=False, table_column=Column(ratio=2)),
            BarColumn(bar_width=None, table_column=Column(ratio=1)),
            TaskProgressColumn(),
            console=Console(stderr=True),
            transient=True,
            expand=True,
        )
        self._task = self.add_task(name, total=None)

    def show(self, name: str, share: float, figures: str) -> None:
        """Draws the newest state; `share` is 0 to 1."""
        self._below = figures
        self.update(self._task, description=name, completed=share, total=1)

    def get_renderables(self) -> Iterator[RenderableType]:
        """Yield what rich draws: the bar, and the figures below it."""
        yield self.make_tasks_table(self.tasks)
        below = Text(f"  {self._below}")
        below.highlight_regex(_FAILURES, "red")
        yield below

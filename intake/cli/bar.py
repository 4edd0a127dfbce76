"""A batch's progress in a terminal; where there is none, a line now and then."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

from pipeline.progress import Snapshot, duration

if TYPE_CHECKING:
    from intake.cli.twolines import TwoLines
    from intake.control.batches import Status

_LINE_SECONDS = 10.0


def figures(seen: Snapshot | Status) -> str:
    """What every view of a batch says: images, faces, failed, images/s and the time left."""
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
        name: may be changed at any time.
    """

    def __init__(self, name: str, *, shown: bool) -> None:
        self.name = name
        self._lines = shown and not sys.stderr.isatty()
        self._next_line = time.monotonic() + _LINE_SECONDS
        self._terminal: TwoLines | None = None
        if shown and not self._lines:
            from intake.cli.twolines import TwoLines  # rich is slow to import

            self._terminal = TwoLines(name)

    def __enter__(self) -> Self:
        if self._terminal:
            self._terminal.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._terminal:
            self._terminal.stop()

    def show(self, seen: Snapshot | Status) -> None:
        """Show the newest state."""
        if self._terminal:
            self._terminal.show(self.name, seen.share, figures(seen))
        if self._lines and time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + _LINE_SECONDS
            print(f"{self.name}: {figures(seen)}", file=sys.stderr)

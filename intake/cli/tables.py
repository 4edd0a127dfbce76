"""Tables on standard output."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from intake.cli.console import plain

ROWS_SHOWN = 100
_WIDE = 250  # columns, where no terminal says how many it has


def console() -> Console:
    """Standard output, without line breaks of its own where it is no terminal."""
    return Console(width=None if sys.stdout.isatty() else _WIDE, highlight=False)


def table(headings: Iterable[str], rows: Iterable[Sequence[str]]) -> Table:
    """Rows below their headings."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        made.add_column(heading, overflow="fold")
    for row in rows:
        made.add_row(*(Text(plain(cell)) for cell in row))
    return made

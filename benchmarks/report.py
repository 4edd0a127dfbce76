"""The figures of a benchmark: tables for people, one JSON object for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, get_type_hints

from rich import box
from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Column:
    """Annotates a field of a row that has a column in the table; a field without one is JSON's.

    Attributes:
        title: of the column.
        spec: format of a value, or of each value of a list. None stays empty.
    """

    title: str
    spec: str = ""


@dataclass(frozen=True)
class Report:
    """What was measured.

    Attributes:
        about: one sentence before the tables.
        tables: by name, rows of one dataclass each.
        figures: what there is only one of; None where it is not known.
    """

    about: str
    tables: Mapping[str, Sequence[Any]]
    figures: Mapping[str, float | None] = field(default_factory=dict)

    def show(self, console: Console) -> None:
        """Print it for people."""
        console.print(self.about)
        for rows in filter(None, self.tables.values()):
            console.print(_table(rows))
        for name, value in self.figures.items():
            console.print(
                f"{name.replace('_', ' ')}: {'unknown' if value is None else f'{value:.4g}'}"
            )

    def as_dict(self) -> dict[str, Any]:
        """The same as plain data: figures and tables by their names."""
        tables = {name: [asdict(row) for row in rows] for name, rows in self.tables.items()}
        return {**self.figures, **tables}


def _table(rows: Sequence[Any]) -> Table:
    hints = get_type_hints(type(rows[0]), include_extras=True)
    columns = {
        name: column for name, hint in hints.items() for column in getattr(hint, "__metadata__", ())
    }
    table = Table(box=box.SIMPLE)
    for column in columns.values():
        table.add_column(column.title, justify="right" if column.spec else "left")
    for row in rows:
        table.add_row(*(_text(getattr(row, name), one.spec) for name, one in columns.items()))
    return table


def _text(value: Any, spec: str) -> str:
    if isinstance(value, list):
        return ", ".join(_text(one, spec) for one in value)
    return "" if value is None else format(value, spec)

"""Lines of Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

Row = Iterable[str]


def title(text: str, about: str) -> Iterator[str]:
    """A page's title, and what it is about."""
    yield from (f"# {text}", "", about, "")


def section(text: str, about: str) -> Iterator[str]:
    """A heading, and what is below it, which may be nothing."""
    yield from (f"## {text}", "")
    if about:
        yield from (about, "")


def table(heads: Row, rows: Iterable[Row]) -> Iterator[str]:
    """A table."""
    cells = [[_cell(one) for one in row] for row in rows]
    heads = list(heads)
    yield f"| {' | '.join(heads)} |"
    yield "|" + "---|" * len(heads)
    for row in cells:
        yield f"| {' | '.join(row)} |"
    yield ""


def _cell(text: str) -> str:
    """A text on one line, in which nothing but code is marked up."""
    parts = " ".join(text.split()).replace("|", "\\|").split("`")
    plain = (one.replace("*", "\\*").replace("<", "&lt;") for one in parts[::2])
    parts[::2] = plain
    return "`".join(parts)

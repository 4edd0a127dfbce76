"""A batch for a person at a terminal: how far it is, and what came of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from intake.bar import figures
from intake.exits import mask, plain
from tasks.summary import Summary

if TYPE_CHECKING:
    from intake.batches import Status


def render(summary: Summary) -> str:
    """A few lines, without a line end after the last."""
    images = summary.members - summary.skipped
    output = plain(mask(summary.output))
    lines = [
        f"{plain(mask(summary.archive))}: {images:,} images, {summary.faces:,} faces",
        f"  {summary.cropped:,} with a face, {summary.no_face:,} without, "
        f"{summary.failed:,} failed, {summary.skipped:,} skipped",
        f"  {_pace(summary)}",
        f"  crops     {output}/crops",
        f"  manifest  {output}/manifest.parquet",
    ]
    if summary.failed:
        lines.append(f"  failed    {output}/failed.csv ({_codes(summary.errors)})")
    return "\n".join(lines)


def render_status(seen: Status, link: str) -> str:
    """A few lines, without a line end after the last.

    Args:
        seen: the batch.
        link: to its run in the UI.
    """
    lines = [f"{plain(seen.name)}: {seen.state}", f"  {figures(seen)}"]
    if seen.message and seen.state not in ("running", "completed"):
        lines.append(f"  {plain(' '.join(seen.message.split()))}")
    if seen.counts.errors:
        lines.append(f"  failed    {_codes(dict(seen.counts.errors.most_common()))}")
    return "\n".join([*lines, f"  output    {plain(mask(seen.output))}", f"  run       {link}"])


def table(headings: Iterable[str], rows: Iterable[Sequence[str]]) -> Table:
    """Rows below their headings."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        made.add_column(heading, overflow="fold")
    for row in rows:
        made.add_row(*(Text(plain(cell)) for cell in row))
    return made


def _codes(errors: Mapping[str, int]) -> str:
    return ", ".join(f"{code} {count:,}" for code, count in errors.items())


def _pace(summary: Summary) -> str:
    parts = [f"{summary.seconds:,.1f} s"]
    if summary.images_per_second:
        parts.append(f"{summary.images_per_second:,.1f} images/s")
    if summary.resumed:
        parts.append(f"{summary.resumed:,} were done before")
    return ", ".join(parts)

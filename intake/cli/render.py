"""A batch for a person at a terminal: how far it is, and its result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from intake.cli.bar import figures
from intake.cli.console import counted, plain
from pipeline.summary import Summary
from storage.fs.redact import shown
from storage.output.counts import Counts

if TYPE_CHECKING:
    from intake.control.batches import Status


def render(summary: Summary) -> str:
    """A few lines, without a line end after the last."""
    images = summary.members - summary.skipped
    output = plain(shown(summary.output))
    lines = [
        f"{plain(shown(summary.archive))}: {images:,} images, {summary.faces:,} faces",
        f"  {summary.cropped:,} with a face, {summary.no_face:,} without, "
        f"{summary.failed:,} failed, {summary.skipped:,} skipped",
        f"  {_pace(summary)}",
        f"  photos    {output}/photos" if summary.blurred else f"  crops     {output}/crops",
        f"  manifest  {output}/manifest.parquet",
    ]
    if summary.skipped and not images:
        lines.insert(
            1, "  none of its files is an image that was opened: see what was skipped, and why"
        )
    if summary.failed:
        lines.append(f"  failed    {output}/failed.csv ({_codes(summary.errors)})")
    if summary.skips:
        lines.append(f"  skipped   {output}/skipped.csv ({_codes(summary.skips)})")
    if summary.warnings:
        lines.append(f"  in doubt  {_codes(summary.warnings)}")
    lines += _not_kept(summary.counts)
    if summary.unknown_photos or summary.missing_people:
        lines.append(
            f"  unmatched {output}/unmatched.csv (photographs of nobody in the roster "
            f"{summary.unknown_photos:,}, people without a photograph {summary.missing_people:,})"
        )
    lines += [f"  note      {plain(line)}" for line in summary.notes]
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
    if seen.counts.skips:
        lines.append(f"  skipped   {_codes(dict(seen.counts.skips.most_common()))}")
    lines += _not_kept(seen.counts)
    return "\n".join([*lines, f"  output    {plain(shown(seen.output))}", f"  run       {link}"])


def _not_kept(counts: Counts) -> list[str]:
    if not counts.not_kept:
        return []
    faces = counted(counts.not_kept, "face")
    none = f"; images with none left: {counts.none_kept:,}" if counts.none_kept else ""
    return [f"  not kept  {faces} ({_codes(dict(counts.rejects.most_common()))}){none}"]


def _codes(errors: Mapping[str, int]) -> str:
    return ", ".join(f"{code} {count:,}" for code, count in errors.items())


def _pace(summary: Summary) -> str:
    parts = [f"{summary.seconds:,.1f} s"]
    if summary.images_per_second:
        parts.append(f"{summary.images_per_second:,.1f} images/s")
    if summary.resumed:
        parts.append(f"{summary.resumed:,} were done before")
    return ", ".join(parts)

"""What came of a batch, for a person at a terminal."""

from __future__ import annotations

from tasks.summary import Summary


def render(summary: Summary) -> str:
    """A few lines, without a line end after the last."""
    images = summary.members - summary.skipped
    lines = [
        f"{summary.archive}: {images:,} images, {summary.faces:,} faces",
        f"  {summary.cropped:,} with a face, {summary.no_face:,} without, "
        f"{summary.failed:,} failed, {summary.skipped:,} skipped",
        f"  {_pace(summary)}",
        f"  crops     {summary.output}/crops",
        f"  manifest  {summary.output}/manifest.parquet",
    ]
    if summary.failed:
        codes = ", ".join(f"{code} {count:,}" for code, count in summary.errors.items())
        lines.append(f"  failed    {summary.output}/failed.csv ({codes})")
    return "\n".join(lines)


def _pace(summary: Summary) -> str:
    parts = [f"{summary.seconds:,.1f} s"]
    if summary.images_per_second:
        parts.append(f"{summary.images_per_second:,.1f} images/s")
    if summary.resumed:
        parts.append(f"{summary.resumed:,} were done before")
    return ", ".join(parts)

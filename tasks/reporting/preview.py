"""A preview's page in the Prefect UI: how far it is, and then what it says."""

from __future__ import annotations

import time
from collections.abc import Sequence

import httpx
from prefect.logging import get_run_logger

from pipeline.preview.run import Preview
from pipeline.preview.told import lines, way_lines
from pipeline.progress import Snapshot, describe
from tasks.reporting.artifacts import RunArtifact
from tasks.reporting.page import code

_REPORT_SECONDS = 4.0


class PreviewPage:
    """What the current flow run shows of its preview, as far as the server answers.

    Args:
        archive: that it is of.
    """

    def __init__(self, archive: str) -> None:
        self._log = get_run_logger()
        self._bar = RunArtifact("preview-progress", "progress", f"Sample of {code(archive)}")
        self._told = RunArtifact("preview", "markdown", "What a batch would come to")
        self._next = time.monotonic() + _REPORT_SECONDS

    def update(self, snapshot: Snapshot) -> None:
        """Show how far it is, now and then."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _REPORT_SECONDS
        self._log.info(describe(snapshot))
        self._show(self._bar, 100 * snapshot.share)

    def end(self, made: Preview) -> None:
        """Show what it says."""
        self._show(self._told, as_markdown(made))

    def _show(self, artifact: RunArtifact, data: object) -> None:
        try:
            artifact.show(data)
        except httpx.HTTPError as error:  # a preview does not end because nobody can see it
            self._log.warning("The Prefect server did not answer (%s).", error)


def as_markdown(made: Preview) -> str:
    """What a preview says, for the page of its run."""
    told = made.estimate
    head = f"**{told.sampled:,} members cropped** (seed {made.seed}), and what all would come to"
    rows = [("", "estimate", "95 % interval"), *lines(told, made.schedule)]
    parts = [f"## {code(made.archive)}", head, _table(rows)]
    if made.profiles:
        parts += [
            _table(way_lines(made.profiles)),
            f"Faces that they disagree on: {made.disagreements:,}",
        ]
    notes = [code(line) for line in made.notes]
    return "\n\n".join([*parts, *notes, f"Report: {code(made.report)}"])


def _table(rows: Sequence[Sequence[str]]) -> str:
    head, *others = (
        [f"&emsp;{code(cell.strip())}" if cell.startswith("  ") else cell for cell in row]
        for row in rows
    )
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *others))

"""A batch's page in the Prefect UI: summary, pictures and failures, kept up to date."""

from __future__ import annotations

import base64
import json
from functools import cached_property

import httpx
from prefect.client.orchestration import get_client
from prefect.logging import get_run_logger
from prefect.variables import Variable

from pipeline.batch import CROPS_SHOWN, Batch
from pipeline.progress import Snapshot
from pipeline.report import SHEET_CELL, SHEET_COLUMNS, heads, sheet
from pipeline.summary import Summary
from storage.output.output import Output
from tasks.lifecycle.current import current_run
from tasks.reporting import page
from tasks.reporting.artifacts import RunArtifact
from tasks.reporting.names import TAG, batch_name, ended_name, worker_of

ADDRESS_VARIABLE = "facecrop_address"
"""The Prefect variable with the address at which people's browsers reach the HTTP service."""

FAILURES_SHOWN = 100
_CAPTION = "Some of the crops"
_ENOUGH_CROPS = 16  # for a first picture
_NAME_STEP = 5  # percent, in which the run's name says how far it is


class Dashboard:
    """What the current flow run shows of its batch, besides its progress.

    Args:
        batch: that the run works on.
    """

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self._step = 0
        self._summary = RunArtifact("batch-summary", "markdown", "Summary")
        self._pictures = RunArtifact("contact-sheet", "markdown", _CAPTION)
        self._pictured = False

    def update(self, snapshot: Snapshot) -> None:
        """Show how far it is, and the first crops as soon as there are enough."""
        self._summary.show(self._running(snapshot))
        crops = list(self._batch.first_crops)
        if not self._pictured and len(crops) >= _ENOUGH_CROPS:
            self._pictured = True
            from detection.contact_sheet import contact_sheet  # brings the codecs

            self._show(contact_sheet(crops, SHEET_COLUMNS, SHEET_CELL))
        step = int(100 * snapshot.share) // _NAME_STEP * _NAME_STEP
        if step != self._step:
            self._step = step
            self._rename(f"{batch_name()} · {step} %")

    def end(self, summary: Summary) -> None:
        """Show the result, and name the run after it, if the server answers."""
        try:
            self._end(summary)
        except httpx.HTTPError as error:
            get_run_logger().warning("The output is complete, the run's page is not: %s", error)

    def _end(self, summary: Summary) -> None:
        output = self._batch.output
        sample = output.sample(CROPS_SHOWN, CROPS_SHOWN, 0) if summary.faces else None
        lines = heads(self._batch.settings.identity(), sample) if sample else ()
        self._summary.show(page.ended(summary, self._workers(), self._address, lines))
        if sample and (pictures := sheet(output, sample)):
            self._show(pictures)
        if summary.failed:
            show_failures(summary, output)
        self._rename(ended_name(batch_name(), summary))

    def _rename(self, name: str) -> None:
        run = current_run()
        alone = run.deployment_id is None  # then nothing else says whose it is
        tags = sorted({*run.tags, TAG}) if alone else None
        get_client(sync_client=True).update_flow_run(run.id, name=name, tags=tags)

    def _running(self, snapshot: Snapshot) -> str:
        archive, output = self._batch.archive.uri, self._batch.output.uri
        return page.running(archive, output, snapshot, self._workers(), self._address)

    def _workers(self) -> dict[str, int]:
        return self._batch.progress.by_worker(worker_of(current_run()) or "this run")

    @cached_property
    def _address(self) -> str:
        """Of the batch at the HTTP service, where the server's variable says where that is."""
        service = str(Variable.get(ADDRESS_VARIABLE, default="") or "").rstrip("/")
        if not service.startswith(("http://", "https://")):
            return ""
        return f"{service}/api/batch/{current_run().id}"

    def _show(self, picture: bytes) -> None:
        # an image artifact would print its whole data URI below it; Markdown shows the picture
        data = base64.b64encode(picture).decode()
        self._pictures.show(f"![{_CAPTION}](data:image/jpeg;base64,{data})")


def show_failures(summary: Summary, output: Output) -> None:
    """A table of the first failures, and where the others are."""
    failures = output.failures(FAILURES_SHOWN)
    place = page.code(f"{output.uri}/failed.csv")
    shown = f"The first {len(failures)} of {summary.failed:,}; all are in {place}"
    # the UI takes what is in a table for Markdown, too
    rows = [
        row | {"path": page.code(row["path"]), "message": page.code(row["message"])}
        for row in failures
    ]
    RunArtifact("failed-images", "table", shown).show(json.dumps(rows))

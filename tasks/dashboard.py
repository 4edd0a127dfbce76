"""A batch's page in the Prefect UI: summary, pictures and failures, kept up to date."""

from __future__ import annotations

import base64
import json
from functools import cached_property
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.context import FlowRunContext
from prefect.runtime import flow_run
from prefect.variables import Variable

from detection.contact_sheet import contact_sheet
from storage.output import Output
from tasks import page
from tasks.artifacts import RunArtifact
from tasks.batch import CROPS_SHOWN, Batch
from tasks.naming import batch_name, ended_name, worker_of
from tasks.progress import Snapshot
from tasks.report import SHEET_CELL, SHEET_COLUMNS, sheet
from tasks.summary import Summary

ADDRESS_VARIABLE = "facecrop_address"
"""The Prefect variable with the address at which people's browsers reach the HTTP service."""

FAILURES_SHOWN = 100
_CAPTION = "Some of the crops"
_ENOUGH_CROPS = 16  # for a first picture
_NAME_STEP = 5  # percent: so often the run's name says anew how far it is, in the list of runs, too


class Dashboard:
    """What the current flow run shows of its batch, besides its progress.

    Args:
        batch: in hand.
    """

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self._step = 0
        self._summary = RunArtifact("batch-summary", "markdown", "Summary")
        self._pictures = RunArtifact("contact-sheet", "markdown", _CAPTION)
        self._pictured = False

    def update(self, snapshot: Snapshot) -> None:
        """Shows how far it is, and the first crops as soon as there are enough."""
        self._summary.show(self._running(snapshot))
        crops = list(self._batch.first_crops)
        if not self._pictured and len(crops) >= _ENOUGH_CROPS:
            self._pictured = True
            self._show(contact_sheet(crops, SHEET_COLUMNS, SHEET_CELL))
        step = int(100 * snapshot.share) // _NAME_STEP * _NAME_STEP
        if step != self._step:
            self._step = step
            self._rename(f"{batch_name()} · {step} %")

    def end(self, summary: Summary) -> None:
        """Shows what came of it, and names the run after that."""
        self._summary.show(page.ended(summary, self._workers(), self._address))
        output = self._batch.output
        if summary.faces:
            sample = output.sample(CROPS_SHOWN, CROPS_SHOWN, 0)
            self._show(sheet(output, [face["crop"] for face in sample.faces]))
        if summary.failed:
            show_failures(summary, output)
        self._rename(ended_name(batch_name(), summary))

    def _rename(self, name: str) -> None:
        get_client(sync_client=True).update_flow_run(UUID(flow_run.get_id()), name=name)

    def _running(self, snapshot: Snapshot) -> str:
        archive, output = self._batch.archive.uri, self._batch.output.uri
        return page.running(archive, output, snapshot, self._workers(), self._address)

    def _workers(self) -> dict[str, int]:
        return self._batch.progress.by_worker(self._own or "this run")

    @property
    def _own(self) -> str:
        context = FlowRunContext.get()
        assert context is not None
        assert context.flow_run is not None
        return worker_of(context.flow_run)

    @cached_property
    def _address(self) -> str:
        """Of the batch at the HTTP service, where the server's variable says where that is."""
        service = str(Variable.get(ADDRESS_VARIABLE, default="") or "").rstrip("/")
        if not service.startswith(("http://", "https://")):
            return ""
        return f"{service}/api/batch/{flow_run.get_id()}"

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

"""One batch on the server: `facecrop status`, `failed`, `retry`, `cancel`, `pause` and `resume`."""

from __future__ import annotations

import csv
import itertools
import json
import sys
from collections.abc import Iterator
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun

from intake.cli.asking import asked
from intake.cli.bar import Bar
from intake.cli.console import (
    DONE,
    DONE_WITH_FAILURES,
    FAILED,
    INTERRUPTED,
    complain,
    plain,
)
from intake.cli.render import render, render_status
from intake.cli.tables import ROWS_SHOWN, console, table
from intake.control import batches, steering
from intake.control.connection import patience
from pipeline.settings import CropSettings
from pipeline.summary import Summary
from storage.fs.redact import shown
from storage.output.layout import FAILED as FAILED_CSV
from storage.output.manifest import FAILED_COLUMNS, failed_cells
from storage.output.output import Output
from tasks.reporting.links import run_link


def show_status(batch: UUID, *, watch: bool, as_json: bool) -> int:
    """Print how far a batch is, at its end if it is watched, and return the exit code."""

    def show(client: SyncPrefectClient) -> int:
        if watch:
            return _watch(client, batch, as_json=as_json)
        return _tell(batches.status(client, batch), as_json=as_json)

    return asked(show, as_json=as_json)


def show_failed(batch: UUID, *, as_csv: bool, as_json: bool) -> int:
    """Print the images that failed, so far or in all, and return the exit code."""

    def show(client: SyncPrefectClient) -> int:
        seen = batches.status(client, batch)
        output = Output(seen.output)
        if seen.counts.members:
            output.record()  # or an output that is not here would look as if nothing had failed
        rows = output.failed_rows()
        if as_csv:
            sheet = csv.writer(sys.stdout, lineterminator="\n")
            sheet.writerow(FAILED_COLUMNS)
            cells: Iterator[list[str]] = map(failed_cells, rows)
            if sys.stdout.isatty():  # a file gets names as they are; a terminal would obey them
                cells = ([plain(cell) for cell in one] for one in cells)
            sheet.writerows(cells)
        elif as_json:
            for row in rows:
                print(json.dumps(row))
        else:
            _print_failed(batch, seen, rows)
        return DONE

    return asked(show, as_json=as_json)


def retry(batch: UUID, settings: CropSettings, *, watch: bool, as_json: bool) -> int:
    """Start a run that retries the failed images, and return the exit code.

    Of the settings, limits alone count: those that were chosen.
    """

    def start(client: SyncPrefectClient) -> int:
        run = steering.retry(client, batch, limits=settings.limits)
        return begun(client, run, watch=watch, as_json=as_json)

    return asked(start, as_json=as_json)


def steer(command: str, batch: UUID, *, as_json: bool) -> int:
    """Do one of `cancel`, `pause` and `resume`, and return the exit code."""

    def change(client: SyncPrefectClient) -> int:
        _STEERING[command](client, batch)
        seen = batches.status(client, batch)
        print(_json(seen) if as_json else f"{plain(seen.name)}: {seen.state}", flush=True)
        return DONE

    return asked(change, as_json=as_json)


_STEERING = {"cancel": steering.cancel, "pause": steering.pause, "resume": steering.resume}


def begun(client: SyncPrefectClient, run: FlowRun, *, watch: bool, as_json: bool) -> int:
    """Says which run was started, follows it if asked to, and returns the exit code."""
    link = run_link(run.id)
    started = json.dumps({"id": str(run.id), "run": link}) if as_json else f"{run.id}: {link}"
    print(started, flush=True)
    return _watch(client, run.id, as_json=as_json) if watch else DONE


def _watch(client: SyncPrefectClient, batch: UUID, *, as_json: bool) -> int:
    """Show a batch's progress until it has ended, then its result; return the exit code."""
    try:
        with Bar(str(batch), shown=True) as bar, patience():
            for seen in batches.follow(client, batch):
                bar.name = f"{plain(seen.name)}: {seen.state}"
                bar.show(seen)
    except KeyboardInterrupt:
        complain(f"interrupted; the batch goes on: `facecrop status {batch} --watch` follows it")
        return INTERRUPTED
    if as_json:
        return _tell(seen, as_json=True)
    if seen.state == "completed":
        print(render(_summary(client, batch)), flush=True)
    else:
        complain(f"{seen.state}: {seen.message or 'see the run in the Prefect UI'}")
    return _code(seen)


def _summary(client: SyncPrefectClient, batch: UUID) -> Summary:
    summary = batches.summary(client, batch)
    if summary.archive:
        return summary
    record = Output(summary.output).record()  # a run that retries does not know what
    return summary.model_copy(update={"archive": record["archive"]["uri"]})


def _tell(seen: batches.Status, *, as_json: bool) -> int:
    print(_json(seen) if as_json else render_status(seen, run_link(seen.id)), flush=True)
    return _code(seen)


def _code(seen: batches.Status) -> int:
    if seen.state == "completed":
        return DONE if seen.counts.is_flawless else DONE_WITH_FAILURES
    return FAILED if seen.final else DONE


def _json(seen: batches.Status) -> str:
    counts = seen.counts.as_dict()
    values = {name: getattr(seen, name) for name in batches.Status.__slots__ if name != "counts"}
    return json.dumps(values | {"id": str(seen.id)} | counts | {"run": run_link(seen.id)})


def _print_failed(batch: UUID, seen: batches.Status, rows: Iterator[dict[str, Any]]) -> None:
    first = [failed_cells(row) for row in itertools.islice(rows, ROWS_SHOWN)]
    if not first:
        print("no image has failed" + ("" if seen.final else " so far"), flush=True)
        return
    console().print(table(FAILED_COLUMNS, first))
    more = sum(1 for _ in rows)
    if more:
        place = (
            f"{plain(shown(seen.output))}/{FAILED_CSV}, or " if seen.state == "completed" else ""
        )
        print(
            f"these are the first {ROWS_SHOWN} of {ROWS_SHOWN + more:,}; all are in "
            f"{place}`facecrop failed {batch} --csv`",
            flush=True,
        )

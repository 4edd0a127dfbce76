"""One batch on the server: `facecrop status`, `failed`, `retry`, `cancel`, `pause` and `resume`."""

from __future__ import annotations

import csv
import itertools
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings
from prefect.utilities.urls import url_for

from intake import batches, steering
from intake.bar import Bar
from intake.exits import (
    DONE,
    DONE_WITH_FAILURES,
    FAILED,
    INTERRUPTED,
    complain,
    mask,
    plain,
)
from intake.queues import console, explain_server, server
from intake.render import render, render_status, table
from storage.errors import StorageError, TransientError
from storage.manifest import FAILED_COLUMNS, Totals, failed_cells
from storage.output import FAILED as FAILED_CSV
from storage.output import Output
from tasks.summary import Summary

ROWS_SHOWN = 100
_TRIES = 5  # again of a request; as their waits double, they are spread over a minute


def asked(ask: Callable[[SyncPrefectClient], int], *, as_json: bool) -> int:
    """Asks the server something and returns the exit code; what goes wrong is one line."""
    try:
        with server() as client:
            return ask(client)
    except BrokenPipeError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, a person gets one line
        known = isinstance(error, batches.BatchError | StorageError | TransientError)
        message = mask(str(error)) if known else explain_server(error)
    complain(message)
    if as_json:
        print(json.dumps({"error": message}), flush=True)
    return FAILED


def patience() -> AbstractContextManager[object]:
    """Bears with a server that is restarted or busy, for what takes longer than one question."""
    return temporary_settings({PREFECT_CLIENT_MAX_RETRIES: _TRIES})


def show_status(batch: UUID, *, watched: bool, as_json: bool) -> int:
    """Prints how far a batch is, at its end if it is watched, and returns the exit code."""

    def show(client: SyncPrefectClient) -> int:
        if watched:
            return _watch(client, batch, as_json=as_json)
        return _tell(batches.status(client, batch), as_json=as_json)

    return asked(show, as_json=as_json)


def show_failed(batch: UUID, *, as_csv: bool, as_json: bool) -> int:
    """Prints the images that failed, so far or in all, and returns the exit code."""

    def show(client: SyncPrefectClient) -> int:
        seen = batches.status(client, batch)
        output = Output(seen.output)
        if seen.counts.members:
            output.record()  # or an output that is not here would look as if nothing had failed
        rows = output.failed_rows()
        if as_csv:
            sheet = csv.writer(sys.stdout, lineterminator="\n")
            sheet.writerow(FAILED_COLUMNS)
            sheet.writerows(map(failed_cells, rows))
        elif as_json:
            for row in rows:
                print(json.dumps(row))
        else:
            _print_failed(batch, seen, rows)
        return DONE

    return asked(show, as_json=as_json)


def retry(batch: UUID, *, watched: bool, as_json: bool) -> int:
    """Starts a run that drives the failed images again, and returns the exit code."""

    def start(client: SyncPrefectClient) -> int:
        return begun(client, steering.retry(client, batch), watched=watched, as_json=as_json)

    return asked(start, as_json=as_json)


def steer(command: str, batch: UUID, *, as_json: bool) -> int:
    """Does one of `cancel`, `pause` and `resume`, and returns the exit code."""

    def change(client: SyncPrefectClient) -> int:
        _STEERING[command](client, batch)
        seen = batches.status(client, batch)
        print(_json(seen) if as_json else f"{plain(seen.name)}: {seen.state}", flush=True)
        return DONE

    return asked(change, as_json=as_json)


_STEERING = {"cancel": steering.cancel, "pause": steering.pause, "resume": steering.resume}


def begun(client: SyncPrefectClient, run: FlowRun, *, watched: bool, as_json: bool) -> int:
    """Says which run was started, follows it if asked to, and returns the exit code."""
    link = _link(run.id)
    started = json.dumps({"id": str(run.id), "run": link}) if as_json else f"{run.id}: {link}"
    print(started, flush=True)
    return _watch(client, run.id, as_json=as_json) if watched else DONE


def _watch(client: SyncPrefectClient, batch: UUID, *, as_json: bool) -> int:
    """Shows a batch's progress until it has ended, then what came of it; returns the exit code."""
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
    record = Output(summary.output).record()  # a run that retries is not told of what
    return summary.model_copy(update={"archive": record["archive"]["uri"]})


def _tell(seen: batches.Status, *, as_json: bool) -> int:
    print(_json(seen) if as_json else render_status(seen, _link(seen.id)), flush=True)
    return _code(seen)


def _code(seen: batches.Status) -> int:
    if seen.state == "completed":
        return DONE_WITH_FAILURES if seen.counts.failed else DONE
    return FAILED if seen.final else DONE


def _json(seen: batches.Status) -> str:
    counts = {name: getattr(seen.counts, name) for name in Totals.__slots__}
    values = {name: getattr(seen, name) for name in batches.Status.__slots__ if name != "counts"}
    return json.dumps(values | {"id": str(seen.id)} | counts | {"run": _link(seen.id)})


def _link(run: UUID) -> str:
    return str(url_for("flow-run", obj_id=run))


def _print_failed(batch: UUID, seen: batches.Status, rows: Iterator[dict[str, Any]]) -> None:
    first = [failed_cells(row) for row in itertools.islice(rows, ROWS_SHOWN)]
    if not first:
        print("no image has failed" + ("" if seen.final else " so far"), flush=True)
        return
    console().print(table(FAILED_COLUMNS, first))
    more = sum(1 for _ in rows)
    if more:
        place = f"{plain(mask(seen.output))}/{FAILED_CSV}, or " if seen.state == "completed" else ""
        print(
            f"these are the first {ROWS_SHOWN} of {ROWS_SHOWN + more:,}; all are in "
            f"{place}`facecrop failed {batch} --csv`",
            flush=True,
        )

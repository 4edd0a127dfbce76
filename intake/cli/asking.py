"""Commands that ask the Prefect server: what goes wrong is one line and an exit code."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from prefect.client.orchestration import SyncPrefectClient
from rich.text import Text

from intake.cli.console import DONE, fail
from intake.cli.tables import console, table
from intake.control.batches import BatchError
from intake.control.connection import explain_server, server
from storage.errors import StorageError, TransientError
from storage.fs.redact import shown

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def asked(ask: Callable[[SyncPrefectClient], int], *, as_json: bool) -> int:
    """Asks the server something and returns the exit code; what goes wrong is one line."""
    try:
        with server() as client:
            return ask(client)
    except BrokenPipeError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, a person gets one line
        known = isinstance(error, BatchError | StorageError | TransientError)
        message = shown(str(error)) if known else explain_server(error)
    return fail(message, as_json=as_json)


def answer(
    ask: Callable[[SyncPrefectClient], Sequence[DataclassInstance]],
    columns: dict[str, Callable[[Any], str]],
    *,
    as_json: bool,
    nothing: str,
) -> int:
    """Asks the server, prints what it says, and returns the exit code.

    Args:
        ask: gives the rows.
        columns: heading of each column and what it shows of a row.
        as_json: one JSON object a row instead of a table.
        nothing: printed instead of a table without rows.
    """

    def show(client: SyncPrefectClient) -> int:
        rows = ask(client)
        if as_json:
            for row in rows:
                print(json.dumps(asdict(row)), flush=True)
            return DONE
        cells = [[cell(row) for cell in columns.values()] for row in rows]
        console().print(table(columns, cells) if rows else Text(nothing))
        return DONE

    return asked(show, as_json=as_json)

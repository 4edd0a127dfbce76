"""Whether a batch could be handed in right now."""

from __future__ import annotations

import os
from pathlib import Path

import httpx
from prefect.client.orchestration import SyncPrefectClient

from intake.problems import later
from intake.queues import explain_server
from storage.errors import OutputError
from storage.location import FOREIGN, resolve, translate


def check_ready(client: SyncPrefectClient, store: str) -> None:
    """Asks the Prefect server, and looks at the store.

    Raises:
        ProblemError: one of them is not ready; it says which and why.
    """
    try:
        client.request("GET", "/ready")
    except httpx.HTTPError as error:
        raise later(503, explain_server(error)) from error
    place = resolve(store)
    try:
        if place.is_local:
            _check_writable(Path(place.path))
        else:
            place.fs.ls(place.path, detail=False)
    except FOREIGN as error:
        # without the store's answer for a cause, it is this prefix that is not there yet, no bucket
        if isinstance(error, FileNotFoundError) and error.__cause__ is None:
            return
        raise later(503, f"{translate(error, store, 'list', OutputError)}.") from error


def _check_writable(folder: Path) -> None:
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not (there.is_dir() and os.access(there, os.W_OK | os.X_OK)):
        raise PermissionError(f"{there} cannot be written to")

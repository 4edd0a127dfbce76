"""Whether a batch could be handed in right now."""

from __future__ import annotations

from uuid import uuid4

import httpx
from prefect.client.orchestration import SyncPrefectClient

from intake.control.connection import explain_server
from intake.control.trial import try_store
from intake.http.problems import later
from storage.errors import StorageError, TransientError

# of what is written to try the store: one name a process, should it be let write but not remove
_NAME = f".ready-{uuid4().hex}"


def check_ready(client: SyncPrefectClient, store: str) -> None:
    """Asks the Prefect server, and writes a small file to the store, which it removes again.

    Raises:
        ProblemError: one of them is not ready; it says which and why.
    """
    try:
        client.request("GET", "/ready")
    except httpx.HTTPError as error:
        raise later(503, explain_server(error)) from error
    try:
        try_store(store, _NAME)
    except (StorageError, TransientError) as error:
        raise later(503, f"{error}.") from error

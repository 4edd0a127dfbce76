"""`facecrop doctor`: whether everything that a batch needs is there, and what to do if not."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from importlib.metadata import version
from uuid import uuid4

from prefect.client.orchestration import SyncPrefectClient
from rich.text import Text

from intake.cli.checks import pools, server
from intake.cli.checks.check import Check, since
from intake.cli.checks.deployments import deployments
from intake.cli.checks.redis import redis
from intake.cli.console import DONE, FAILED, plain
from intake.cli.tables import console
from intake.control import connection
from intake.control.connection import ANSWER_SECONDS, api_url, explain_server
from intake.control.trial import try_store
from storage.errors import StorageError, TransientError
from storage.fs.redact import shown
from tasks.variables import DOCTOR_OUTPUT

_STORE_SECONDS = 20  # for each step of the object store's check
_STYLES = {"ok": "green", "bad": "bold red", "-": "dim"}
_DETAIL_COLUMN = 30


def examine(output: str | None, *, as_json: bool) -> int:
    """Print a line for each check as soon as it is made, and return the exit code.

    Args:
        output: folder or URI to write a small object to, and delete it again; None for that of
            FACECROP_DOCTOR_OUTPUT, and without it to leave this out.
        as_json: one JSON object a check.
    """
    bad = 0
    out = console()
    for check in _checks(output or DOCTOR_OUTPUT.read()):
        bad += check.status == "bad"
        if as_json:
            print(json.dumps(asdict(check)), flush=True)
        else:
            line = Text.assemble(
                (f"{check.status:<4}", _STYLES[check.status]),
                plain(f"{check.check:<{_DETAIL_COLUMN}} {check.reason}"),
                (f"; {check.fix}" if check.fix else "", "bold"),
            )
            out.print(line, soft_wrap=True)
    return FAILED if bad else DONE


def _checks(output: str | None) -> Iterator[Check]:
    yield Check("Facecrop", "ok", f"{version('facecrop')}, Python {platform.python_version()}")
    try:
        with connection.server(ANSWER_SECONDS) as client:
            yield from _server_checks(client)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is one bad line
        yield Check("Prefect server", "bad", explain_server(error))
    yield from redis(os.environ)
    yield _output(output)


def _server_checks(client: SyncPrefectClient) -> Iterator[Check]:
    """What the server says; the first is whether it says anything.

    Raises:
        Exception: the server does not answer, or not as a Prefect server.
    """
    took = server.ready(client)
    # `/ready` answers anybody, so this is what tells whether the authentication is accepted
    at_server = server.server_version(client)
    yield Check("Prefect server", "ok", f"{shown(api_url())} is ready, in {took}, and lets us in")
    yield server.same_version(at_server)
    steps: dict[str, Callable[[], Iterator[Check]]] = {
        "server settings": lambda: server.settings(client),
        "work pools": lambda: pools.pools(client),
        "workers": lambda: pools.workers(client, at_server),
        "deployments": lambda: deployments(client),
    }
    for name, step in steps.items():
        try:
            yield from step()
        except Exception as error:  # noqa: BLE001 - the others may still be told
            yield Check(name, "bad", explain_server(error))


def _output(output: str | None) -> Check:
    """Whether batches can be written where they shall be."""
    name = "output"
    if not output:
        fix = "name one with --output or FACECROP_DOCTOR_OUTPUT"
        return Check(name, "-", "not tried", fix)
    where = shown(output)
    started = time.monotonic()
    try:
        try_store(output, f".facecrop-doctor-{uuid4().hex}", _STORE_SECONDS)
    except (StorageError, TransientError) as error:
        return Check(name, "bad", shown(str(error)))
    except Exception as error:  # noqa: BLE001 - a file system that cannot be written to, say
        told = " ".join(str(error).split())
        return Check(name, "bad", shown(f"cannot write {output}: {type(error).__name__} {told}"))
    return Check(name, "ok", f"{where}: written, read back and deleted, in {since(started)}")

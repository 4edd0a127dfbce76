"""The Prefect server: whether it is there, its version, its database and its messaging."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from importlib.metadata import version

import httpx
from prefect.client.orchestration import SyncPrefectClient

from intake.cli.checks.check import Check, since
from intake.control.connection import ServerError, api_url
from storage.fs.redact import shown

VERSION = re.compile(r"\d+\.\d+[\w.+!-]*")  # what `serve` records is a hash of the flow's file


def ready(client: SyncPrefectClient) -> str:
    """How long the server took to say that it is ready.

    Raises:
        Exception: it does not answer, or is not ready.
    """
    started = time.monotonic()
    try:
        client.request("GET", "/ready")
    except httpx.HTTPStatusError as error:
        if error.response.status_code != 503:
            raise
        raise ServerError(
            f"the Prefect server at {shown(api_url())} is not ready: it does not reach its "
            "database; start the database, or correct the server's settings"
        ) from error
    return since(started)


def server_version(client: SyncPrefectClient) -> str:
    """The version of Prefect that the server has.

    Raises:
        Exception: it does not let us in, or is no Prefect server.
    """
    answered = client.api_version()
    if not isinstance(answered, str) or not VERSION.fullmatch(answered):
        raise ValueError("no version")
    return answered


def same_version(at_server: str) -> Check:
    """Whether server and client are of one minor version."""
    here = version("prefect")
    if minor(at_server) == minor(here):
        return Check("Prefect version", "ok", f"{at_server} at the server, {here} here")
    return Check(
        "Prefect version",
        "bad",
        f"{at_server} at the server, {here} here",
        f"install prefect {minor(at_server)} here or {minor(here)} there",
    )


def minor(full: str) -> str:
    """The first two numbers of a version."""
    return ".".join(full.split(".")[:2])


def settings(client: SyncPrefectClient) -> Iterator[Check]:
    """What the server keeps its runs and its messages in."""
    settings = client.request("GET", "/admin/settings").json()["server"]
    database = settings["database"]
    driver = database.get("driver") or ""
    if driver.startswith("postgresql"):
        yield Check("database", "ok", f"PostgreSQL on {database.get('host') or 'its default host'}")
    elif driver.startswith("sqlite"):
        yield Check("database", "ok", "SQLite: for one machine only")
    else:  # Prefect shows a connection URL to nobody, not even which kind it is
        yield Check(
            "database",
            "-",
            "the server does not say; without PREFECT_SERVER_DATABASE_CONNECTION_URL it is SQLite, "
            "for one machine only",
        )
    broker = settings["events"]["messaging_broker"]
    if broker.endswith(".memory"):
        yield Check("messaging", "ok", "in the server's memory: for one machine only")
    elif broker.startswith("prefect_redis"):
        yield Check("messaging", "ok", f"Redis ({broker})")
    else:
        yield Check("messaging", "-", f"{broker}, which Facecrop has not been tried with")

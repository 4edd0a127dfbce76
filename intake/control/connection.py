"""The Prefect server as a client asks it: where it is, how patiently, its errors in one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib.metadata import version

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from storage.fs.redact import shown

ANSWER_SECONDS = 10.0
_PATIENCE_SECONDS = 60.0  # a person would rather wait for a busy server than ask again
_TRIES = 5  # again of a request; as their waits double, they are spread over a minute


class ServerError(Exception):
    """The Prefect server cannot be asked; the message is one line."""


def api_url() -> str:
    """The address of the Prefect server, from the environment or Prefect's profile.

    Raises:
        ServerError: there is none.
    """
    url: str | None = PREFECT_API_URL.value()
    if not url:
        raise ServerError(
            "PREFECT_API_URL is not set; set it to the API of a Prefect server, such as "
            "http://127.0.0.1:4200/api"
        )
    return url


@contextmanager
def server(patience: float = _PATIENCE_SECONDS) -> Iterator[SyncPrefectClient]:
    """The Prefect server of PREFECT_API_URL, asked once.

    Args:
        patience: seconds that a server which is there may take to answer.

    Raises:
        ServerError: PREFECT_API_URL is not set, so that Prefect would start a server of its own.
    """
    api_url()
    timeout = httpx.Timeout(patience, connect=ANSWER_SECONDS)
    with (
        temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}),
        get_client(httpx_settings={"timeout": timeout}, sync_client=True) as client,
    ):
        yield client


def patience() -> AbstractContextManager[object]:
    """Bears with a server that is restarted or busy, for what takes longer than one question."""
    return temporary_settings({PREFECT_CLIENT_MAX_RETRIES: _TRIES})


def explain_server(error: Exception) -> str:
    """One line for whatever goes wrong between this machine and the Prefect server."""
    if isinstance(error, ServerError):
        return str(error)
    url = shown(PREFECT_API_URL.value() or "")
    status = error.response.status_code if isinstance(error, httpx.HTTPStatusError) else None
    if status == 404 or isinstance(error, ValueError):
        return (
            f"what answers at {url} does not answer as Prefect {version('prefect')} does; "
            "correct PREFECT_API_URL, which ends in /api, or install the server's version"
        )
    if status is not None:
        if status in (401, 403):
            return (
                f"the Prefect server at {url} refuses with {status}; "
                "set PREFECT_API_AUTH_STRING (or PREFECT_API_KEY) to what it asks for"
            )
        return f"the Prefect server at {url} answers {status}; see its log"
    if isinstance(error, httpx.ReadTimeout | httpx.WriteTimeout | httpx.PoolTimeout):
        return f"the Prefect server at {url} is too busy to answer in time; try again"
    if isinstance(error, httpx.TransportError | httpx.InvalidURL):
        return f"no Prefect server answers at {url}; start it, or correct PREFECT_API_URL"
    return shown(f"{type(error).__name__}: {' '.join(str(error).split())}")

"""What the routes of the HTTP service share: its settings, its client, its limits, who is calling.

Everything about batches is in Prefect and in storage, so a service can be one of several and can
be stopped at any time. Here is only what makes one process quick and keeps it from being overrun.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated
from urllib.parse import urlsplit
from uuid import UUID

from fastapi import Depends, Request, Security
from fastapi.security import (
    APIKeyHeader,
    HTTPAuthorizationCredentials,
    HTTPBasic,
    HTTPBasicCredentials,
    HTTPBearer,
)
from prefect.client.orchestration import SyncPrefectClient

from intake import batches
from intake.keys import ApiKeys
from intake.limits import Slots, TokenBucket
from intake.metrics import Metrics
from intake.prefixes import Prefixes
from intake.problems import ProblemError, later
from intake.queues import Queue, read_queues
from intake.readiness import check_ready
from intake.recent import Recent
from intake.service import ServiceSettings, is_loopback

_STATUS_SECONDS = 1.0
_COUNTS_SECONDS = 3.0
_HOURS = 24.0  # how far back ended runs are counted
_HEADER = APIKeyHeader(
    name="X-API-Key", auto_error=False, description="A key of `facecrop api-key NAME`."
)
_BEARER = HTTPBearer(auto_error=False, description="The same key.")
_BASIC = HTTPBasic(
    auto_error=False, description="The same key as the password, to read with a browser."
)


class Service:
    """One process.

    Args:
        settings: of the service.
        client: of the Prefect server.
        keys: None where everybody on this machine may ask.
        stopping: whether it has been told to stop.
    """

    def __init__(
        self,
        settings: ServiceSettings,
        client: SyncPrefectClient,
        keys: ApiKeys | None,
        stopping: Callable[[], bool],
    ) -> None:
        self.settings = settings
        self.client = client
        self.keys = keys
        self.stopping = stopping
        self.metrics = Metrics()
        self.prefixes = Prefixes(settings.prefixes or [settings.store])
        self.rate = TokenBucket(settings.rate)
        self.slots = Slots(settings.uploads)
        self.statuses = Recent[UUID, batches.Status](
            lambda batch: batches.status(client, batch), _STATUS_SECONDS
        )
        self.queues = Recent[None, list[Queue]](
            lambda _: read_queues(client, _HOURS, empty=False), _COUNTS_SECONDS
        )
        self.readiness = Recent[None, None](
            lambda _: check_ready(client, settings.store), _STATUS_SECONDS
        )
        self.states = Recent[None, dict[str, int]](
            lambda _: batches.count_by_state(client), _COUNTS_SECONDS
        )


def service_of(request: Request) -> Service:
    """The service that a request came to."""
    service: Service = request.app.state.service
    return service


async def caller(
    request: Request,
    header: Annotated[str | None, Security(_HEADER)],
    bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)],
    basic: Annotated[HTTPBasicCredentials | None, Security(_BASIC)],
) -> str:
    """The name of whoever is calling.

    Raises:
        ProblemError: it has no key that is known, or asks for too much.
    """
    service = service_of(request)
    if service.keys is None:
        _refuse_web_pages(request)
        name = "local"
    else:
        token = header or (bearer.credentials if bearer else "")
        # A browser gives these along whoever made it ask, so nothing may be changed by them.
        readable = request.method == "GET"
        if readable and not token and basic is not None:
            token = basic.password
        name = _owner(service.keys, token, readable)
    if wait := service.rate.take(name):
        raise later(429, f"More than {service.settings.rate:g} requests a second.", wait)
    return name


def _owner(keys: ApiKeys, token: str, ask: bool) -> str:
    """Whose key it is; `ask` has a browser ask its user for one."""
    name = keys.owner(token)
    if name is None:
        raise ProblemError(
            401,
            "This needs an API key that is known here, as X-API-Key or Authorization: Bearer.",
            {"WWW-Authenticate": 'Basic realm="Facecrop"' if ask else "Bearer"},
        )
    return name


def _refuse_web_pages(request: Request) -> None:
    """Where no key is asked for, a page that a browser of this machine shows must not call."""
    host = request.headers.get("host", "")
    origin = request.headers.get("origin")
    if not is_loopback(urlsplit(f"//{host}").hostname or ""):
        raise ProblemError(403, "Without API keys this service is called as 127.0.0.1 only.")
    if origin is not None and urlsplit(origin).netloc != host:
        raise ProblemError(403, "Without API keys no other site's pages may call this service.")


ServiceOf = Annotated[Service, Depends(service_of)]
Caller = Annotated[str, Depends(caller)]

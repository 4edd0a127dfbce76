"""What the routes of the HTTP service share: its settings, its client, its limits, who is calling.

Everything about batches is in Prefect and in storage, so a service can be one of several and can
be stopped at any time. Here is only what makes one process quick and keeps it from being overrun.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Annotated
from urllib.parse import urlsplit
from uuid import UUID

from fastapi import Depends, Path, Request, Security
from fastapi.security import (
    APIKeyHeader,
    HTTPAuthorizationCredentials,
    HTTPBasic,
    HTTPBasicCredentials,
    HTTPBearer,
)
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun

from intake.control import batches
from intake.control.queues import Queue, read_owned, read_queues
from intake.control.store import reserved
from intake.http.cache import Recent
from intake.http.ends import Ends
from intake.http.keys import ApiKeys, Client
from intake.http.limits import Slots, TokenBucket
from intake.http.metrics import Metrics
from intake.http.prefixes import Prefixes
from intake.http.problems import ProblemError, later
from intake.http.readiness import check_ready
from intake.http.settings import ServiceSettings, is_loopback
from intake.http.threads import Threads

_STATUS_SECONDS = 1.0
_COUNTS_SECONDS = 3.0
_READY_SECONDS = 5.0
_PROBE_SECONDS = 10.0  # above which a store or a server is as good as none
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
        requests: that are answered at a time.
    """

    def __init__(
        self,
        settings: ServiceSettings,
        client: SyncPrefectClient,
        keys: ApiKeys | None,
        stopping: Callable[[], bool],
        requests: int,
    ) -> None:
        self.settings = settings
        self.client = client
        self.keys = keys
        self.stopping = stopping
        self.metrics = Metrics()
        self.threads = Threads()
        prefixes = settings.prefixes or [settings.store]
        self._prefixes = Prefixes(prefixes)
        self._unreserved = Prefixes(prefixes, reserved(settings.store))
        self.rate = TokenBucket(settings.rate)
        self.slots = Slots(settings.uploads)
        # each by whose batches are seen, None for everybody's
        self.statuses = Recent[tuple[UUID, str | None], batches.Status](
            lambda asked: batches.status(client, *asked), _STATUS_SECONDS
        )
        # half of all that may be answered at a time stay free for those that do not wait
        self.ends = Ends(lambda some: batches.ended(client, some), stopping, requests // 2)
        self.queues = Recent[str | None, list[Queue]](
            lambda owner: (
                read_queues(client, _HOURS, empty=False)
                if owner is None
                else read_owned(client, owner, _HOURS)
            ),
            _COUNTS_SECONDS,
        )
        self.states = Recent[str | None, dict[str, int]](
            lambda owner: batches.count_by_state(client, owner), _COUNTS_SECONDS
        )
        self._readiness = Recent[None, None](
            lambda _: check_ready(client, settings.store), _READY_SECONDS, self.threads.probing
        )

    def prefixes_of(self, who: Client) -> Prefixes:
        """What a client may name."""
        return self._prefixes if who.admin else self._unreserved

    def owner(self, who: Client) -> str | None:
        """Whose a run is that a client starts; None where nobody has a key."""
        return who.name if self.keys else None

    async def check_ready(self) -> None:
        """Asks whether a batch could be handed in right now.

        Raises:
            ProblemError: it could not; it says why.
        """
        try:
            async with asyncio.timeout(_PROBE_SECONDS):
                await self._readiness.get(None)
        except TimeoutError as error:
            raise later(503, "The Prefect server or the store does not answer in time.") from error


async def service_of(request: Request) -> Service:
    """The service that a request came to."""
    service: Service = request.app.state.service
    return service


async def caller(
    request: Request,
    header: Annotated[str | None, Security(_HEADER)],
    bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)],
    basic: Annotated[HTTPBasicCredentials | None, Security(_BASIC)],
) -> Client:
    """Whoever is calling.

    Raises:
        ProblemError: it has no key that is known, or asks for too much.
    """
    service = await service_of(request)
    if service.keys is None:
        _refuse_web_pages(request)
        who = Client("local", admin=True)
    else:
        token = header or (bearer.credentials if bearer else "")
        # A browser gives these along whoever made it ask, so nothing may be changed by them.
        readable = request.method in ("GET", "HEAD")
        if readable and not token and basic is not None:
            token = basic.password
        who = _client(service.keys, token, readable)
    if wait := service.rate.take(who.name):
        raise later(429, f"More than {service.settings.rate:g} requests a second.", wait)
    return who


def _client(keys: ApiKeys, token: str, ask: bool) -> Client:
    """Whose key it is; `ask` has a browser ask its user for one."""
    who = keys.client(token)
    if who is None:
        raise ProblemError(
            401,
            "This needs an API key that is known here, as X-API-Key or Authorization: Bearer.",
            {"WWW-Authenticate": 'Basic realm="Facecrop"' if ask else "Bearer"},
        )
    return who


def _refuse_web_pages(request: Request) -> None:
    """Where no key is asked for, a page that a browser of this machine shows must not call."""
    host = request.headers.get("host", "")
    origin = request.headers.get("origin")
    if not is_loopback(urlsplit(f"//{host}").hostname or ""):
        raise ProblemError(403, "Without API keys this service is called as 127.0.0.1 only.")
    if origin is not None and urlsplit(origin).netloc != host:
        raise ProblemError(403, "Without API keys no other site's pages may call this service.")


ServiceOf = Annotated[Service, Depends(service_of)]
Caller = Annotated[Client, Depends(caller)]


BatchId = Annotated[UUID, Path(alias="batchId", description="As it was handed out.")]


def _batch(batch: BatchId, service: ServiceOf, who: Caller) -> FlowRun:
    """The run of a batch that its caller may see.

    Raises:
        UnknownBatchError: there is none.
    """
    return batches.find(service.client, batch, who.confined_to)


async def _root(request: Request) -> str:
    """The path below which a proxy serves the service; "" for none."""
    return str(request.scope.get("root_path", ""))


Batch = Annotated[FlowRun, Depends(_batch)]
Root = Annotated[str, Depends(_root)]

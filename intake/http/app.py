"""The HTTP service: `facecrop serve`.

It sits on `intake.control.batches` and Prefect, as the command line does, and keeps no state, so
that several of it can run side by side.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import uvicorn
from fastapi import FastAPI, Response
from fastapi.openapi.utils import get_openapi
from prefect.client.orchestration import SyncPrefectClient
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.concurrency import run_in_threadpool

from intake.control.connection import ANSWER_SECONDS, server
from intake.http.answers import add_handlers
from intake.http.bodies import schemas
from intake.http.connections import Connections, Server, most_connections
from intake.http.dependencies import Caller, Service, ServiceOf
from intake.http.guard import Guarded
from intake.http.keys import ApiKeys, read_keys
from intake.http.metrics import Measured, Metrics
from intake.http.pages import add_pages
from intake.http.previewed import AskPreview
from intake.http.problems import MEDIA_TYPE
from intake.http.routes import batches, downloads, previews, searches, submissions
from intake.http.settings import ServiceError, ServiceSettings, is_loopback, read_settings
from storage.errors import StorageError, TransientError
from storage.mark import mark

_ABOUT = """Archives of photographs in, face crops out.

Hand an archive in, follow its batch, fetch its crops. Errors are `application/problem+json` with
one sentence in `detail`. A key goes into `X-API-Key` or `Authorization: Bearer`."""
_SPARE_CONNECTIONS = 32  # beyond those whose requests are answered: for who is told to come again
_MARK_SECONDS = 5.0  # that the start waits for the store
_RETRIES = 3  # of a request that the Prefect server was too busy for
_PROBLEMS = {
    400: "The request is not what its headers say.",
    401: "No key, or one that is not known.",
    403: "This may not be named from here.",
    404: "There is no such batch.",
    408: "Nothing of the body came for too long.",
    409: "The batch is in a state that does not allow this.",
    413: "The body is larger than the service takes.",
    422: "A value, or the archive, cannot be used.",
    429: "Too many requests; Retry-After says when to come back.",
    503: "The Prefect server, the storage or this service is busy; Retry-After says when to retry.",
}


def create_app(service: Service) -> FastAPI:
    """The application of a service."""
    problem = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemBody"}}}
    app = FastAPI(
        title="Facecrop",
        version=version("facecrop"),
        description=_ABOUT,
        openapi_url=None,  # both are `add_pages`'
        docs_url=None,
        responses={
            status: {"description": meaning, "content": problem}
            for status, meaning in _PROBLEMS.items()
        },
    )
    app.state.service = service
    add_handlers(app)
    for part in (submissions, previews, searches, batches, downloads):
        app.include_router(part.router)
    _add_probes(app)
    add_pages(app)

    def openapi() -> dict[str, Any]:
        if not app.openapi_schema:
            document = get_openapi(
                title=app.title,
                version=app.version,
                description=app.description,
                routes=app.routes,
            )
            document.setdefault("components", {}).setdefault("schemas", {}).update(
                schemas(AskPreview)
            )
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # as FastAPI's manual has it
    return app


def _add_probes(app: FastAPI) -> None:
    @app.get("/healthz", tags=["probe"], summary="Alive")
    async def healthz() -> dict[str, str]:
        """The process answers."""
        return {"status": "alive"}

    @app.get("/readyz", tags=["probe"], summary="Ready")
    async def readyz(service: ServiceOf) -> dict[str, str]:
        """The Prefect server is ready and the store can be written to; some seconds old."""
        await service.check_ready()
        return {"status": "ready"}

    @app.get(
        "/metrics",
        tags=["probe"],
        summary="Metrics",
        response_class=Response,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
    )
    async def metrics(service: ServiceOf, who: Caller) -> Response:
        """Counts in Prometheus' text format: for an admin all, else of the caller's own batches."""
        queues = await service.queues.get(who.confined_to)
        states = await service.states.get(who.confined_to)
        own = service.metrics if who.admin else Metrics()
        text = await run_in_threadpool(own.render, queues, states)
        return Response(text, media_type=CONTENT_TYPE_LATEST)


class ListenError(Exception):
    """The service cannot listen where it should; the message is one line."""


def serve(host: str, port: int, warn: Callable[[str], None]) -> None:
    """Serve until it is told to stop.

    Args:
        host: address to bind to.
        port: to bind to; 0 for a free one.
        warn: called with a line about what does not keep it from serving.

    Raises:
        ServiceError: a line for each setting that cannot be.
        ListenError: the address cannot be bound to.
        ServerError: there is no Prefect server to serve for.
    """
    settings = read_settings(os.environ)
    keys = _keys(settings, host)
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        bound = socket.create_server((host, port), family=family, backlog=2048)
        # asyncio sets it on sockets of its own making alone; else an answer's body may wait 40 ms
        bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except OSError as error:
        raise ListenError(
            f"cannot listen on {host}, port {port}: {error.strerror}; choose another"
        ) from error
    _mark_soon(settings.store, warn)
    with (
        bound,
        server(ANSWER_SECONDS) as client,
        temporary_settings({PREFECT_CLIENT_MAX_RETRIES: _RETRIES}),
    ):
        _run(settings, keys, client, bound)


def _mark_soon(store: str, warn: Callable[[str], None]) -> None:
    """Has the store marked; one that does not answer is marked with the first upload."""

    def try_it() -> None:
        try:
            mark(store)
        except (StorageError, TransientError) as error:
            warn(f"{error}; until it is marked, `facecrop cleanup` removes nothing there")

    marking = threading.Thread(target=try_it, daemon=True)
    marking.start()
    marking.join(_MARK_SECONDS)


def _keys(settings: ServiceSettings, host: str) -> ApiKeys | None:
    if settings.keys:
        return read_keys(settings.keys)
    if not is_loopback(host):
        raise ServiceError(
            f"without API keys the service binds to 127.0.0.1 only, not to {host}; "
            "name a file of them in FACECROP_HTTP_KEYS (`facecrop api-key NAME` makes one)"
        )
    return None


def _run(
    settings: ServiceSettings, keys: ApiKeys | None, client: SyncPrefectClient, bound: socket.socket
) -> None:
    stopping: Callable[[], bool] = lambda: running.should_exit  # noqa: E731
    most = most_connections(settings.connections)
    requests = most - _SPARE_CONNECTIONS
    service = Service(settings, client, keys, stopping, requests)
    connections = Connections(most, settings.head_seconds, settings.stall_seconds)
    app = Measured(create_app(service), service.metrics)
    running = Server(
        uvicorn.Config(
            Guarded(app, requests),
            http=connections.protocol,  # type: ignore[arg-type]  # which it calls and nothing else
            ws="none",
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=settings.grace_seconds,
        )
    )
    # uvicorn raises these again when it has stopped; by default that would end the process before
    # the last uploads are removed
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, running.handle_exit)
    host, port = bound.getsockname()[:2]
    print(f"facecrop: serving http://{f'[{host}]' if ':' in host else host}:{port}", flush=True)
    running.run([bound])

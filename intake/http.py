"""The HTTP service: `facecrop serve`.

It sits on intake/batches.py and the Prefect client as the command line does, and keeps no state, so
that several of it can run side by side.
"""

from __future__ import annotations

import os
import signal
import socket
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

from intake import fetching, following, handing_in
from intake.bodies import schemas
from intake.exits import DONE, FAILED, WRONG_USE, complain
from intake.keys import ApiKeys, read_keys
from intake.metrics import Measured
from intake.problems import MEDIA_TYPE, add_handlers
from intake.queues import ANSWER_SECONDS, ServerError, server
from intake.service import ServiceError, ServiceSettings, is_loopback, read_settings
from intake.serving import Caller, Service, ServiceOf

_ABOUT = """Archives of photographs in, face crops out.

Hand an archive in, follow its batch, fetch its crops. Errors are `application/problem+json` with
one sentence in `detail`. A key goes into `X-API-Key` or `Authorization: Bearer`."""
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
        responses={
            status: {"description": meaning, "content": problem}
            for status, meaning in _PROBLEMS.items()
        },
    )
    app.state.service = service
    add_handlers(app)
    for part in (handing_in, following, fetching):
        app.include_router(part.router)
    _add_probes(app)

    def openapi() -> dict[str, Any]:
        if not app.openapi_schema:
            document = get_openapi(
                title=app.title,
                version=app.version,
                description=app.description,
                routes=app.routes,
            )
            document.setdefault("components", {}).setdefault("schemas", {}).update(schemas())
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
        """The Prefect server is ready and the store can be written to or at least listed."""
        await service.readiness.get(None)
        return {"status": "ready"}

    @app.get(
        "/metrics",
        tags=["probe"],
        summary="Metrics",
        response_class=Response,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
    )
    async def metrics(service: ServiceOf, _: Caller) -> Response:
        """Counts in Prometheus' text format."""
        queues, states = await service.queues.get(None), await service.states.get(None)
        text = await run_in_threadpool(service.metrics.render, queues, states)
        return Response(text, media_type=CONTENT_TYPE_LATEST)


def serve(host: str, port: int) -> int:
    """Serves until it is told to stop, and returns the exit code.

    Args:
        host: address to bind to.
        port: to bind to; 0 for a free one.
    """
    try:
        settings = read_settings(os.environ)
        keys = _keys(settings, host)
    except ServiceError as error:
        for line in str(error).splitlines():
            complain(line)
        return WRONG_USE
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        bound = socket.create_server((host, port), family=family, backlog=2048)
        # asyncio sets it on sockets of its own making alone; else an answer's body may wait 40 ms
        bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except OSError as error:
        complain(f"cannot listen on {host}, port {port}: {error.strerror}; choose another")
        return FAILED
    try:
        with (
            bound,
            server(ANSWER_SECONDS) as client,
            temporary_settings({PREFECT_CLIENT_MAX_RETRIES: _RETRIES}),
        ):
            _run(settings, keys, client, bound)
    except ServerError as error:
        complain(str(error))
        return FAILED
    return DONE


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
    service = Service(settings, client, keys, stopping)
    running = uvicorn.Server(
        uvicorn.Config(
            Measured(create_app(service), service.metrics),
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

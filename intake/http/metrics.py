"""What the service tells Prometheus about itself."""

from __future__ import annotations

import time
from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from intake.control.queues import Queue

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 600)  # seconds
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


class Metrics:
    """Counts of one process, and what the server says of all."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        labels = ["method", "route"]
        self._requests = Counter(
            "facecrop_http_requests", "Requests.", [*labels, "status"], registry=registry
        )
        self._latency = Histogram(
            "facecrop_http_request_seconds",
            "Time until a request's answer begins.",
            labels,
            buckets=_BUCKETS,
            registry=registry,
        )
        self.upload_bytes = Counter(
            "facecrop_http_upload_bytes", "Bytes of uploads that came.", registry=registry
        )
        self.uploads = Gauge(
            "facecrop_http_uploads_in_flight", "Uploads that are coming.", registry=registry
        )
        self.waiting = Gauge(
            "facecrop_http_waiting", "Requests that wait for a batch's end.", registry=registry
        )
        self._runs = Gauge(
            "facecrop_queue_runs", "Runs in a queue.", ["pool", "queue", "state"], registry=registry
        )
        self._wait = Gauge(
            "facecrop_queue_oldest_wait_seconds",
            "Since the first waiting run of a queue was due.",
            ["pool", "queue"],
            registry=registry,
        )
        self._batches = Gauge(
            "facecrop_batches", "Batches that Prefect knows.", ["state"], registry=registry
        )

    def render(self, queues: list[Queue], batches: Mapping[str, int]) -> bytes:
        """All of it in Prometheus' text format."""
        self._runs.clear()
        self._wait.clear()
        for queue in queues:
            self._runs.labels(queue.pool, queue.queue, "waiting").set(queue.waiting)
            self._runs.labels(queue.pool, queue.queue, "running").set(queue.running)
            self._wait.labels(queue.pool, queue.queue).set(queue.oldest_wait_seconds or 0)
        for state, number in batches.items():
            self._batches.labels(state).set(number)
        return generate_latest(self._registry)

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count an answered request in."""
        self._requests.labels(method, route, status).inc()
        self._latency.labels(method, route).observe(seconds)


class Measured:
    """An application whose requests are counted, by the pattern of their route."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection, as ASGI has it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.monotonic()

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                # what clients make up themselves must not become a label
                method = scope["method"] if scope["method"] in _METHODS else "other"
                route = getattr(scope.get("route"), "path", "unknown")
                seconds = time.monotonic() - began
                self._metrics.observe(method, route, message["status"], seconds)
            await send(message)

        await self._app(scope, receive, sending)

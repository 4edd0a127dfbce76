"""What holds for every request and answer, whatever its route."""

from __future__ import annotations

from fastapi import Request
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from intake.http.answers import answer
from intake.http.problems import ProblemError, later

_ALIVE = "/healthz"
_PRIVATE = ("/api/", "/metrics", "/docs", "/openapi.json")
_HAND_IN = ("/api/batch/upload-zip", "/api/batch/add-images", "/api/batch/from-uri")
_NO_BODY_BYTES = 64 << 10  # that a client may send where none is wanted


class Guarded:
    """An application that takes so many requests at a time, and whose answers nobody else keeps.

    Args:
        app: what answers.
        most: requests at a time; there is always room to ask whether the process is alive.
    """

    def __init__(self, app: ASGIApp, most: int) -> None:
        self._app = app
        self._most = most
        self._under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request, as ASGI has it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["X-Content-Type-Options"] = "nosniff"
                if scope["path"].startswith(_PRIVATE):
                    headers["Cache-Control"] = "private, no-store"
            await send(message)

        app = self._refusing(scope) or self._app
        self._under_way += 1
        try:
            await app(scope, receive, sending)
        finally:
            self._under_way -= 1

    def _refusing(self, scope: Scope) -> ASGIApp | None:
        """What answers instead; None where nothing is amiss."""
        if scope["path"] == _ALIVE:
            return None
        if self._under_way >= self._most:
            return answer(Request(scope), later(503, "Too many requests are under way."))
        # the server has made sure that it is a number
        length = int(Headers(scope=scope).get("content-length", 0))
        if scope["path"] not in _HAND_IN and length > _NO_BODY_BYTES:
            return answer(Request(scope), ProblemError(413, "Nothing is read of a body here."))
        return None

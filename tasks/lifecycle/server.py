"""Whether the Prefect server answers, and how patiently it is asked.

By itself Prefect's client tries each of its calls again for a minute where nobody listens, and for
seven where somebody listens and says nothing: the next call, too, and the one after that. Here all
calls of this process share what is known: a server that is away is asked for by one thread alone,
whoever can do without its answer goes on at once, and nobody waits for it longer than a minute.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from datetime import datetime
from typing import Any

import httpx
from prefect.client.base import PrefectHttpxAsyncClient, PrefectHttpxSyncClient
from prefect.client.orchestration import get_client
from prefect.exceptions import TerminationSignal

PATIENCE_SECONDS = 60.0
"""A server that is restarted is back within this; one that is not is taken for gone."""

_ANSWER_SECONDS = 30.0  # that one answer may take
_IMPATIENT_SECONDS = 10.0  # so much work is in flight while the main thread waits
_HURRIED_SECONDS = 5.0
_PROBE_SECONDS, _MOST_PROBE_SECONDS = 2.0, 60.0
_PAUSE_SECONDS = 2.0  # between two attempts, should the server be ready and fail all the same
_TICK_SECONDS = 0.25
_MEANS_NO_ANSWER = {408, 429, *range(500, 600)}

_impatient: ContextVar[bool] = ContextVar("impatient", default=False)
_probing: ContextVar[bool] = ContextVar("probing", default=False)


class _Server:
    """What is known of a server. Thread-safe.

    Attributes:
        is_known: it has answered before; where not, its address may be wrong.
        is_away: its last answer failed to come, and it has not been found ready since.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._since: float | None = None
        self._since_when: datetime | None = None
        self._relapses = 0
        self.is_known = False
        self.is_away = False

    def silence(self) -> str | None:
        """In words, since when it does not answer; None where it does."""
        since = self._since_when
        return None if since is None else f"has not answered since {since:%H:%M:%S}"

    @property
    def is_gone(self) -> bool:
        """Whether it has answered no call for longer than anybody waits."""
        since = self._since
        return since is not None and time.monotonic() - since > PATIENCE_SECONDS

    def answered(self) -> None:
        """It has answered a call."""
        if self.is_known and self._since is None:
            return
        with self._lock:
            self.is_known = True
            self._since = self._since_when = None
            self._relapses = 0
            self.is_away = False

    def was_silent(self) -> None:
        """It has not answered a call, or did not understand it: from now on it is looked for."""
        with self._lock:
            if self._since is None:
                self._since, self._since_when = time.monotonic(), datetime.now().astimezone()
            if self.is_away or not self.is_known:
                return
            self.is_away = True
            pause = min(_PROBE_SECONDS * 2**self._relapses, _MOST_PROBE_SECONDS)
            self._relapses += 1
        looking = copy_context().run
        threading.Thread(target=looking, args=(self._look_for_it, pause), daemon=True).start()

    def _look_for_it(self, pause: float) -> None:
        _probing.set(True)
        while self.is_away:
            time.sleep(pause)
            if _is_ready():
                self.is_away = False


_servers: dict[bytes, _Server] = {}  # by address; a process asks one, but for tests
_asked = _Server()  # last
_hurried = False


def ask_together() -> None:
    """Make every client of Prefect in this process ask in this way. May be called again."""
    PrefectHttpxSyncClient._send_with_retry = _send  # type: ignore[method-assign,assignment]
    PrefectHttpxAsyncClient._send_with_retry = _asend  # type: ignore[method-assign,assignment]


def hurry() -> None:
    """From now on nobody waits for the server: the process is to end."""
    global _hurried
    _hurried = True


def hurry_if_ended_by(error: BaseException) -> None:
    """Hurries where it is a signal that ends the run."""
    if isinstance(error, KeyboardInterrupt | TerminationSignal):
        hurry()


def was_hurried() -> bool:
    """Whether the process is to end."""
    return _hurried


@contextmanager
def impatient() -> Iterator[None]:
    """For calls without whose answer the work goes on.

    Raises:
        httpx.HTTPError: from a call within: the server did not answer, or is known to be away.
    """
    before = _impatient.set(True)
    try:
        yield
    finally:
        _impatient.reset(before)


def is_away() -> bool:
    """Whether it would be of no use to call the server now."""
    return _asked.is_away


def is_gone() -> bool:
    """Whether the server is away, and for longer than a restart takes."""
    return _asked.is_away and _asked.is_gone


def was_silent() -> None:
    """Note that the server did not answer, whoever asked it."""
    _asked.was_silent()


def silence() -> str | None:
    """In words, since when the server does not answer; None where it does."""
    return _asked.silence()


_Send = Callable[..., httpx.Response]
_AsyncSend = Callable[..., Coroutine[Any, Any, httpx.Response]]
_prefects = PrefectHttpxSyncClient._send_with_retry
_prefects_async = PrefectHttpxAsyncClient._send_with_retry


class _Call:
    """One call, and how long it still may take."""

    def __init__(self, request: httpx.Request) -> None:
        global _asked
        self._request = request
        self._server = _servers.setdefault(request.url.netloc, _Server())
        self._began = time.monotonic()
        self._probing = _probing.get()
        self._impatient = self._probing or _impatient.get()
        if not self._probing:
            _asked = self._server

    @property
    def waits(self) -> bool:
        """Whether to wait before the next attempt: only the probe asks a server that is away.

        Raises:
            httpx.ConnectError: it was waited for long enough.
        """
        if self._probing or not self._server.is_away:
            return False
        if self._left <= 0:
            said = f"The Prefect server {self._server.silence()}."
            raise httpx.ConnectError(said, request=self._request)
        return True

    @property
    def answer_seconds(self) -> float:
        """How long to wait for an answer."""
        if was_hurried():
            return _HURRIED_SECONDS
        return _IMPATIENT_SECONDS if self._impatient else _ANSWER_SECONDS

    @property
    def _left(self) -> float:
        """For how many seconds the server may still be waited for."""
        if self._impatient or was_hurried() or self._server.is_gone:
            return 0
        return PATIENCE_SECONDS - (time.monotonic() - self._began)

    def limit(self) -> None:
        """Set how long the next attempt may take."""
        most = self.answer_seconds
        given = self._request.extensions.get("timeout", {})
        self._request.extensions["timeout"] = {
            name: min(given.get(name) or most, most)
            for name in ("connect", "read", "write", "pool")
        }

    def is_over(self, response: httpx.Response) -> bool:
        """Whether a response is the last one, be it an answer or not."""
        answered = response.status_code not in _MEANS_NO_ANSWER
        self._note(answered=answered)
        return answered or self._left <= 0

    def gives_up(self, error: httpx.TransportError) -> bool:
        """Whether an attempt that failed so was the last one."""
        self._note(answered=False)
        wrong_address = isinstance(error, httpx.ConnectError) and not self._server.is_known
        return wrong_address or self._left <= 0

    def _note(self, *, answered: bool) -> None:
        if self._probing:
            return
        if answered:
            self._server.answered()
        else:
            self._server.was_silent()


# Prefect's own retries come to nothing where it is told of no failures to try again; what it does
# about CSRF tokens stays.


def _send(
    self: PrefectHttpxSyncClient,
    request: httpx.Request,
    send: _Send,
    send_args: tuple[Any, ...],
    send_kwargs: dict[str, Any],
    **_: Any,
) -> httpx.Response:
    call = _Call(request)

    def patiently(*args: Any, **kwargs: Any) -> httpx.Response:
        while True:
            while call.waits:
                time.sleep(_TICK_SECONDS)
            call.limit()
            try:
                response = send(*args, **kwargs)
            except httpx.TransportError as error:
                if call.gives_up(error):
                    raise
            else:
                if call.is_over(response):
                    return response
            time.sleep(_PAUSE_SECONDS)

    answer: httpx.Response = _prefects(self, request, patiently, send_args, send_kwargs)
    return answer


async def _asend(
    self: PrefectHttpxAsyncClient,
    request: httpx.Request,
    send: _AsyncSend,
    send_args: tuple[Any, ...],
    send_kwargs: dict[str, Any],
    **_: Any,
) -> httpx.Response:
    call = _Call(request)

    async def patiently(*args: Any, **kwargs: Any) -> httpx.Response:
        while True:
            while call.waits:
                await asyncio.sleep(_TICK_SECONDS)
            call.limit()
            try:
                response = await _answer(call, request, send(*args, **kwargs))
            except httpx.TransportError as error:
                if call.gives_up(error):
                    raise
            else:
                if call.is_over(response):
                    return response
            await asyncio.sleep(_PAUSE_SECONDS)

    answer: httpx.Response = await _prefects_async(self, request, patiently, send_args, send_kwargs)
    return answer


async def _answer(
    call: _Call, request: httpx.Request, sending: Coroutine[Any, Any, httpx.Response]
) -> httpx.Response:
    """Wait for an answer, and for no longer than it may take: that changes when all is to end."""
    began, task = time.monotonic(), asyncio.ensure_future(sending)
    try:
        while not task.done():
            if time.monotonic() - began > call.answer_seconds:
                raise httpx.ReadTimeout("The Prefect server does not answer.", request=request)
            await asyncio.wait({task}, timeout=_TICK_SECONDS)
        return task.result()
    finally:
        task.cancel()


def _is_ready() -> bool:
    try:
        with get_client({"timeout": _IMPATIENT_SECONDS}, sync_client=True) as client:
            client.request("GET", "/ready")
    except httpx.HTTPStatusError as error:  # a server that does not know the route is one
        return error.response.status_code not in _MEANS_NO_ANSWER
    except Exception:  # noqa: BLE001 - whatever it is, it is not ready
        return False
    return True

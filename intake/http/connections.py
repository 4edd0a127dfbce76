"""Connections to the HTTP service: how many at a time, and how long one may do nothing.

uvicorn closes a connection that is idle between two requests. Here is what it leaves open for ever:
one on which no request comes, or only half of one, or whose client takes no answer. Those would use
up the files that the process may open, and with them its means to answer anybody.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

if sys.platform != "win32":
    import resource

_OTHER_FILES = 256  # for uploads, downloads, storage and the Prefect server
_FEWEST = 64
_ACCEPTED_AT_ONCE = 16  # by one turn of the event loop, before it knows of their being there
_BACKLOG = 2048


class Connections:
    """All that are open at a time.

    Args:
        most: that may be.
        head_seconds: after which one is closed on which no whole request head has come.
        stall_seconds: after which one is closed whose client takes too little of an answer.
    """

    def __init__(self, most: int, head_seconds: float, stall_seconds: float) -> None:
        self.head_seconds = head_seconds
        self.stall_seconds = stall_seconds
        self._most = most
        self._idle: dict[_Connection, asyncio.TimerHandle] = {}  # the longest idle first

    def protocol(self, **given: Any) -> asyncio.Protocol:
        """A protocol for a new one, as uvicorn asks for it."""
        return _Connection(self, **given)

    def make_room(self, there: int) -> None:
        """Close the longest idle one where there are too many.

        The service answers so many requests at a time that some are always idle, or soon will be.
        """
        if there > self._most and self._idle:
            next(iter(self._idle)).give_up()

    def idle(self, one: _Connection) -> None:
        """Has one closed soon on which no request is being answered."""
        if one not in self._idle:
            self._idle[one] = one.loop.call_later(self.head_seconds, one.give_up)

    def busy(self, one: _Connection) -> None:
        """Lets one be, as a request on it is being answered, or as it is gone."""
        if timer := self._idle.pop(one, None):
            timer.cancel()


class _Connection(H11Protocol):
    """One of them."""

    def __init__(self, among: Connections, **given: Any) -> None:
        super().__init__(**given)
        self._among = among
        self._stalled: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._among.idle(self)
        self._among.make_room(len(self.connections))

    def connection_lost(self, exc: Exception | None) -> None:
        self._among.busy(self)
        self._taken()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._settle()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._settle()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stalled = self.loop.call_later(self._among.stall_seconds, self.give_up)

    def resume_writing(self) -> None:
        self._taken()
        super().resume_writing()

    def give_up(self) -> None:
        """Close it without waiting for its client to take what is left."""
        self._among.busy(self)
        self.transport.abort()

    def _taken(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def _settle(self) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self._among.idle(self)
        else:
            self._among.busy(self)


class Server(uvicorn.Server):
    """uvicorn's, which takes connections a few at a time however many wait."""

    def __init__(self, config: uvicorn.Config) -> None:
        config.backlog = _ACCEPTED_AT_ONCE
        super().__init__(config)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begins to listen."""
        await super().startup(sockets=sockets)
        for listener in sockets or ():
            listener.listen(_BACKLOG)  # asyncio has made it no longer than what it takes at once


def most_connections(wanted: int) -> int:
    """How many there may be, once the process may open as many files as it can be let."""
    files = wanted + _OTHER_FILES
    if sys.platform != "win32":  # which has no such bound on sockets
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if hard != resource.RLIM_INFINITY:
            files = hard  # of an unlimited number no more than needed: macOS does not give all
        if soft != resource.RLIM_INFINITY and files > soft:
            try:
                resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
            except (OSError, ValueError):  # macOS has a bound of its own besides
                files = soft
    return max(_FEWEST, min(wanted, files - _OTHER_FILES))

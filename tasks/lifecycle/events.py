"""Events about chunks, kept while the Prefect server is away and sent when it is back.

Prefect's own client tries for ten seconds to send each event, and prints those that it cannot.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from types import TracebackType

from prefect.events.clients import EventsClient, PrefectEventsClient
from prefect.events.schemas.events import Event

from tasks.lifecycle.server import is_away, was_silent

_ATTEMPTS_AGAIN = 1  # a connection that was merely closed is opened again at once
_MOST_KEPT = 5_000  # of 3 KB or so; of more, the oldest are lost
_CLOSE_SECONDS = 2.0


def keep_events() -> None:
    """Has this process keep what it cannot send. May be called again.

    Prefect emits nothing to a client class that it does not know, so its own is changed.
    """
    PrefectEventsClient.__aenter__ = _enter  # type: ignore[method-assign,assignment]
    PrefectEventsClient.__aexit__ = _exit  # type: ignore[method-assign]
    PrefectEventsClient._emit = _emit  # type: ignore[method-assign]


_prefects_enter = PrefectEventsClient.__aenter__
_prefects_exit = PrefectEventsClient.__aexit__
_prefects_emit = PrefectEventsClient._emit


async def _enter(self: PrefectEventsClient) -> PrefectEventsClient:
    self._reconnection_attempts = _ATTEMPTS_AGAIN
    if is_away():
        await EventsClient.__aenter__(self)
        self._start_checkpoint_task()
        return self
    try:
        await _prefects_enter(self)
    except Exception:  # noqa: BLE001 - whatever it is, the run goes on
        _lose_connection(self)
        self._start_checkpoint_task()
    return self


async def _exit(
    self: PrefectEventsClient,
    exc_type: type[BaseException] | None,
    exc_val: BaseException | None,
    exc_tb: TracebackType | None,
) -> None:
    with suppress(Exception):
        if self._unconfirmed_events and self._websocket is None and not is_away():
            await self._reconnect()
    with suppress(Exception):
        await asyncio.wait_for(_prefects_exit(self, exc_type, exc_val, exc_tb), _CLOSE_SECONDS)


async def _emit(self: PrefectEventsClient, event: Event) -> None:
    if is_away():
        self._unconfirmed_events.append(event)
        del self._unconfirmed_events[:-_MOST_KEPT]
        return
    try:
        await _prefects_emit(self, event)
    except Exception:  # noqa: BLE001 - whatever it is, the event is among the unconfirmed
        _lose_connection(self)


def _lose_connection(client: PrefectEventsClient) -> None:
    client._websocket = None
    was_silent()

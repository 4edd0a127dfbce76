"""The ends of batches, for clients that wait: however many do, one question asks for all of theirs.

How far a batch is costs the Prefect server several answers. Whether it has ended is a short list,
of up to 200 batches at a time, and so can be asked for often.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import UUID

import httpx
from anyio import CapacityLimiter, to_thread

from intake.control.filters import PAGE

_TICK_SECONDS = 0.05  # between two questions, of which each costs the server some milliseconds
_SOONEST_SECONDS, _LATEST_SECONDS = 0.1, 1.0  # between two about the same batch
_SHARE = 0.05  # of the time that its client has waited: so much longer it may wait for nothing


@dataclass(slots=True, eq=False)
class _Waiter:
    batch: UUID
    since: float
    due: float
    over: asyncio.Event = field(default_factory=asyncio.Event)


class Ends:
    """Has requests wait for the ends of batches. Used from the event loop alone.

    Args:
        ended: gives those of at most PAGE batches that have ended; one thread at a time calls it.
        stopping: whether nobody is to wait any more.
        most: requests that may wait at a time; others need not.
    """

    def __init__(
        self, ended: Callable[[set[UUID]], set[UUID]], stopping: Callable[[], bool], most: int
    ) -> None:
        self._ended = ended
        self._stopping = stopping
        self._most = most
        self._waiters: set[_Waiter] = set()
        self._watching: asyncio.Future[None] | None = None
        self._asking: asyncio.Future[None] | None = None
        self._thread = CapacityLimiter(1)

    async def wait(self, batch: UUID) -> None:
        """Return once a batch has ended; before that if the service stops, or too many wait."""
        if len(self._waiters) >= self._most:
            return
        now = time.monotonic()
        waiter = _Waiter(batch, since=now, due=now)
        self._waiters.add(waiter)
        if self._watching is None or self._watching.done():
            self._watching = asyncio.ensure_future(self._watch())
        try:
            await waiter.over.wait()
        finally:
            self._waiters.discard(waiter)

    async def _watch(self) -> None:
        """Ask again and again while anybody waits."""
        while self._waiters:
            if self._stopping():
                for waiter in self._waiters:
                    waiter.over.set()
            elif self._asking is None or self._asking.done():
                self._asking = asyncio.ensure_future(self._ask())
            await asyncio.sleep(_TICK_SECONDS)

    async def _ask(self) -> None:
        """Ask once, for those whose turn it is."""
        began = time.monotonic()
        due = sorted((one for one in self._waiters if one.due <= began), key=lambda one: one.due)
        del due[PAGE:]
        if not due:
            return
        try:
            batches = {one.batch for one in due}
            ended = await to_thread.run_sync(self._ended, batches, limiter=self._thread)
        except httpx.HTTPError:  # the server is busy, or away
            ended = set()
        now = time.monotonic()
        for one in due:
            pause = _SHARE * (now - one.since)
            one.due = now + min(max(pause, _SOONEST_SECONDS), _LATEST_SECONDS)
            if one.batch in ended:
                one.over.set()

"""A cache of a second or so, so that many who ask at once cost one request."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from functools import partial
from typing import Generic, TypeVar

from anyio import CapacityLimiter, to_thread

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Recent(Generic[Key, Value]):
    """Fetches values in a thread, each at most once at a time and once in a while.

    Errors are kept as answers are. `get` is for the event loop alone.

    Args:
        fetch: what to call for a key.
        seconds: for how long its answer will do.
        limiter: of its threads; None for those that all share.
    """

    def __init__(
        self,
        fetch: Callable[[Key], Value],
        seconds: float,
        limiter: CapacityLimiter | None = None,
    ) -> None:
        self._limiter = limiter
        self._fetch = fetch
        self._seconds = seconds
        self._tasks: dict[Key, asyncio.Task[Value]] = {}

    async def get(self, key: Key) -> Value:
        """The answer for a key, whatever `fetch` returns or raises."""
        task = self._tasks.get(key)
        if task is None:
            task = self._tasks[key] = asyncio.ensure_future(self._ask(key))
            task.add_done_callback(partial(self._answered, key))
        return await asyncio.shield(task)  # one who goes away does not end it for the rest

    def forget(self, key: Key) -> None:
        """Have the next call fetch a fresh value."""
        self._tasks.pop(key, None)

    async def _ask(self, key: Key) -> Value:
        return await to_thread.run_sync(self._fetch, key, limiter=self._limiter)

    def _answered(self, key: Key, task: asyncio.Task[Value]) -> None:
        if not task.cancelled():
            task.exception()  # seen, even if nobody waits any more
        task.get_loop().call_later(self._seconds, self._drop, key, task)

    def _drop(self, key: Key, task: asyncio.Task[Value]) -> None:
        if self._tasks.get(key) is task:
            del self._tasks[key]

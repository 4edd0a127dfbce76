"""What was looked up a moment ago, so that many who ask at once cost one look."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from anyio import to_thread

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")

_MOST = 1000  # entries, above which those that are over are dropped


@dataclass(slots=True)
class _Entry(Generic[Value]):
    task: asyncio.Task[Value]
    until: float = math.inf


class Recent(Generic[Key, Value]):
    """Looks things up in a thread, each at most once at a time and once in a while.

    Errors are kept as answers are. `get` is for the event loop alone.

    Args:
        look: what to ask.
        seconds: for how long its answer will do.
    """

    def __init__(self, look: Callable[[Key], Value], seconds: float) -> None:
        self._look = look
        self._seconds = seconds
        self._entries: dict[Key, _Entry[Value]] = {}

    async def get(self, key: Key) -> Value:
        """The answer for a key, whatever `look` gives or raises."""
        entry = self._entries.get(key)
        if entry is None or entry.until < time.monotonic():
            entry = self._begin(key)
        return await asyncio.shield(entry.task)  # one who goes away does not end it for the rest

    def forget(self, key: Key) -> None:
        """Has the next one who asks look anew."""
        self._entries.pop(key, None)

    def _begin(self, key: Key) -> _Entry[Value]:
        if len(self._entries) > _MOST:
            now = time.monotonic()
            self._entries = {one: kept for one, kept in self._entries.items() if kept.until > now}
        entry = _Entry(asyncio.ensure_future(self._ask(key)))
        self._entries[key] = entry

        def ended(task: asyncio.Task[Value]) -> None:
            entry.until = time.monotonic() + self._seconds
            if not task.cancelled():
                task.exception()  # seen, even if nobody waits any more

        entry.task.add_done_callback(ended)
        return entry

    async def _ask(self, key: Key) -> Value:
        return await to_thread.run_sync(self._look, key)

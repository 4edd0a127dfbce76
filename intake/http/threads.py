"""Where the service does what takes longer: off the event loop, and so much of it at a time.

Threads share one interpreter, and what waits for storage or the Prefect server holds one for as
long as that takes. So neither those that compute nor those that wait may take the others' place.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from anyio import CapacityLimiter, to_thread

Result = TypeVar("Result")

_PARSING, _PLANNING, _PROBING = 4, 2, 2


class Threads:
    """Threads for each kind of work. Used from the event loop alone."""

    def __init__(self) -> None:
        self._parsing = CapacityLimiter(_PARSING)
        self._planning = CapacityLimiter(_PLANNING)
        self.probing = CapacityLimiter(_PROBING)

    async def parse(self, work: Callable[[], Result]) -> Result:
        """Has something read that a client sent."""
        return await to_thread.run_sync(work, limiter=self._parsing)

    async def plan(self, work: Callable[[], Result]) -> Result:
        """Has an archive's index read, which may have millions of members."""
        return await to_thread.run_sync(work, limiter=self._planning)

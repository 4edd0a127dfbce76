"""How much a client may ask of one process: requests a second, and uploads at a time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from intake.http.problems import later


class TokenBucket:
    """Requests a second of each client. Used from the event loop alone.

    Args:
        rate: tokens a second. A client that was silent for a second may take so many at once.
    """

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._most = max(rate, 1.0)
        self._left: dict[str, tuple[float, float]] = {}

    def take(self, client: str) -> float:
        """Take a token; give the seconds after which there will be one, 0 if there was."""
        now = time.monotonic()
        left, since = self._left.get(client, (self._most, now))
        left = min(self._most, left + (now - since) * self._rate)
        taken = left >= 1
        self._left[client] = (left - taken, now)
        return 0.0 if taken else (1 - left) / self._rate


class Slots:
    """So many at a time. Used from the event loop alone."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.taken = 0

    @contextmanager
    def one(self) -> Iterator[None]:
        """Hold a slot.

        Raises:
            ProblemError: none is free.
        """
        if self.taken >= self._most:
            raise later(503, f"{self._most} uploads are under way; try again in a moment.")
        self.taken += 1
        try:
            yield
        finally:
            self.taken -= 1

"""Working on one image while no other is worked on, to see whether the memory suffices then."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class ExclusiveTurn:
    """How many threads of this process are at work, and whether one has to be the only one."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._turn = threading.Lock()
        self._at_work = 0
        self.wanted = False

    def enter(self, within: float) -> None:
        """Begin to work, once no exclusive turn is under way, or after so many seconds."""
        with self._changed:
            self._changed.wait_for(lambda: not self.wanted, within)
            self._at_work += 1

    def leave(self) -> None:
        """End what `enter` began."""
        with self._changed:
            self._at_work -= 1
            self._changed.notify_all()

    @contextmanager
    def alone(self, within: float) -> Iterator[None]:
        """Continue when all other threads at work have left, or after so many seconds."""
        self.leave()
        with self._turn:
            with self._changed:
                self.wanted = True
                self._changed.wait_for(lambda: not self._at_work, within)
            try:
                yield
            finally:
                with self._changed:
                    self.wanted = False
                    self._at_work += 1
                    self._changed.notify_all()

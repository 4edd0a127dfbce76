"""Which failures are tried again, how often, and with what delay."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from threading import Event
from typing import Final, TypeVar

from storage.errors import TransientError

ATTEMPTS: Final = 3
FIRST_DELAY_SECONDS: Final = 2.0
"""Before the second attempt; each further delay is twice the one before."""

JITTER: Final = 0.5
"""Share by which a delay is drawn shorter or longer, so that workers do not come back together."""

T = TypeVar("T")

_log = logging.getLogger(__name__)


def is_transient(error: object) -> bool:
    """Whether another attempt may succeed."""
    return isinstance(error, TransientError)


def retried(
    work: Callable[[bool], T], stop: Event | None = None, warn: Callable[[str], None] = _log.warning
) -> T:
    """Call `work` until it succeeds, at most ATTEMPTS times.

    Args:
        work: is told whether this is its last attempt.
        stop: no further attempt follows once it is set; the delay before one ends then.
        warn: is told of each attempt that failed and is followed by another.

    Raises:
        TransientError: from the last attempt.
        Whatever else `work` raises, at once.
    """
    stop = stop or Event()
    for attempt in range(1, ATTEMPTS):
        try:
            return work(False)
        except TransientError as error:
            delay = FIRST_DELAY_SECONDS * 2 ** (attempt - 1)
            delay *= random.uniform(1 - JITTER, 1 + JITTER)
            warn(f"{error} Attempt {attempt} of {ATTEMPTS}; the next one in {delay:.0f} s.")
            if stop.wait(delay):
                raise
    return work(True)

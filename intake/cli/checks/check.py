"""One thing that was checked."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Literal

REGISTER = "run `python -P -m deployments`"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was checked.

    Attributes:
        check: what.
        status: `-` where it does not matter or cannot be told.
        reason: what was found; one line without secrets.
        fix: what to do, if anything is to be done.
    """

    check: str
    status: Literal["ok", "bad", "-"]
    reason: str
    fix: str = ""


def since(started: float) -> str:
    """How long ago that was, of the monotonic clock, in milliseconds."""
    return f"{1000 * (time.monotonic() - started):,.0f} ms"

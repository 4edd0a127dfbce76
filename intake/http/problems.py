"""Problems: why a request ends without what it asked for (RFC 9457), one sentence each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

MEDIA_TYPE = "application/problem+json"
_LATER_SECONDS = 5
_MOST_FAULTS = 10
_LONGEST_FAULT = 300  # characters


class ProblemBody(BaseModel):
    """What went wrong."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str


class ProblemError(Exception):
    """An answer that ends a request.

    Args:
        status: of HTTP.
        detail: one sentence.
        headers: of the answer.
    """

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.headers = dict(headers or {})


def later(status: int, detail: str, seconds: float = _LATER_SECONDS) -> ProblemError:
    """A problem that is over in some seconds."""
    return ProblemError(status, detail, {"Retry-After": str(max(1, math.ceil(seconds)))})


def invalid(error: ValidationError) -> ProblemError:
    """The problem of a value that cannot be; it names the field."""
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    return ProblemError(422, told(faults))


def told(faults: Sequence[Any]) -> str:
    """The first few: a client can send more than it would ever read."""
    first = [short(_fault(fault), _LONGEST_FAULT) for fault in faults[:_MOST_FAULTS]]
    more = len(faults) - len(first)
    return "; ".join([*first, f"and {more} more"] if more else first)


def _fault(fault: Any) -> str:
    name = ".".join(str(part) for part in fault["loc"] if part not in ("query", "path", "header"))
    message = str(fault["msg"]).removeprefix("Value error, ").replace("Input should", "should")
    return f"{short(name, _LONGEST_FAULT // 2)}: {message}"


def short(text: str, most: int) -> str:
    """The first characters of a text that has too many."""
    return text if len(text) <= most else f"{text[: most - 1]}\N{HORIZONTAL ELLIPSIS}"

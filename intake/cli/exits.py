"""How commands end."""

from __future__ import annotations

from enum import IntEnum
from typing import Self


class ExitCode(IntEnum):
    """What a command tells whoever started it.

    Attributes:
        about: for people.
    """

    about: str

    def __new__(cls, value: int, about: str) -> Self:
        """Of the pair that stands for a code."""
        code = int.__new__(cls, value)
        code._value_ = value
        code.about = about
        return code

    DONE = 0, "done"
    FAILED = 1, "failed"
    WRONG_USE = 2, "wrong use"
    DONE_WITH_FAILURES = 3, "done, but some images failed or no file was an image"
    INTERRUPTED = 130, "interrupted"


EXIT_CODES = "exit codes: " + "; ".join(f"{code:d} {code.about}" for code in ExitCode)

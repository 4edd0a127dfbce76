"""The roots of what Facecrop raises and of its codes; every room may derive from them."""

from __future__ import annotations

from enum import StrEnum
from typing import Self


class FacecropError(Exception):
    """Facecrop cannot do what it was asked for, said in one line."""


class Code(StrEnum):
    """A closed set of short words that stand in tables, each with what it means.

    Attributes:
        about: said to people, as the end of a sentence that begins with what the code is of.
    """

    about: str

    def __new__(cls, value: str, about: str = "") -> Self:  # found by its value alone
        """Of the pair that stands for a code in its class."""
        code = str.__new__(cls, value)
        code._value_ = value
        code.about = about
        return code

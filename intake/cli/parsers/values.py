"""What several commands' arguments have in common: values with bounds, flags, exit codes."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, TypeAlias
from uuid import UUID

A_LINE = "print JSON objects, one a line"

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add_watch(parser: argparse.ArgumentParser) -> None:
    """Add the flag that has a command wait for a batch."""
    parser.add_argument("--watch", action="store_true", help="show its progress until it is done")


def add_json(parser: argparse.ArgumentParser, help: str, default: Any = False) -> None:
    """Add the flag that has a command print JSON, said in its help as given."""
    parser.add_argument("--json", dest="as_json", action="store_true", default=default, help=help)


def batch_id(text: str) -> UUID:
    """Read a batch's id."""
    try:
        return UUID(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text}: should be a batch's id, such as {UUID(int=0)}; `facecrop submit` prints it"
        ) from None


def up_to(most: int, unit: str) -> Callable[[str], float]:
    """Read a number above 0."""

    def read(text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = 0.0
        if not 0 < number <= most:
            raise argparse.ArgumentTypeError(f"{text}: should be above 0 and at most {most} {unit}")
        return number

    return read


def whole(least: int, most: int, said: str) -> Callable[[str], int]:
    """Read a whole number."""

    def read(text: str) -> int:
        if not (text.isdecimal() and least <= int(text) <= most):
            raise argparse.ArgumentTypeError(f"{text}: should be a number {said}")
        return int(text)

    return read

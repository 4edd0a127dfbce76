"""How commands complain."""

from __future__ import annotations

import json
import sys
import traceback

from facecrop.errors import FacecropError
from intake.cli.exits import ExitCode
from intake.control.configured import configured_url
from storage.errors import TransientError
from storage.fs.redact import printable, shown

DONE, FAILED, WRONG_USE, DONE_WITH_FAILURES, INTERRUPTED = ExitCode


def plain(text: str) -> str:
    """A text from outside on one line, without what a terminal would take for a command."""
    return printable(text, one_line=True)


def counted(count: int, noun: str) -> str:
    """Such as `1 face` or `1,200 faces`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def complain(message: str) -> None:
    """One line to standard error."""
    print(f"facecrop: {plain(shown(message))}", file=sys.stderr)


def fail(message: str, *, as_json: bool) -> int:
    """Complains, on standard output as well where a program reads that; gives the exit code."""
    complain(message)
    if as_json:
        print(json.dumps({"error": message}), flush=True)
    return FAILED


def explain(error: Exception, *, verbose: bool) -> str:
    """One line for any error that ends a command; with `verbose` its traceback goes before it."""
    if verbose:
        print(shown("".join(traceback.format_exception(error))), file=sys.stderr, end="")
    if isinstance(error, TransientError):
        return f"{error}; the same command goes on from here"
    if isinstance(error, FacecropError):
        return str(error)
    httpx = sys.modules.get("httpx")  # what is not imported has raised nothing
    if "reach API" in str(error) or (httpx and isinstance(error, httpx.TransportError)):
        server = configured_url()
        if server:
            return f"no Prefect server answers at {shown(server)}; start it, or give --no-prefect"
    text = " ".join(str(error).split()) or "no more is known"
    return f"{type(error).__name__}: {text}" + ("" if verbose else " (--verbose tells more)")

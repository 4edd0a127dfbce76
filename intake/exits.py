"""How commands end, and how they complain."""

from __future__ import annotations

import os
import sys
import traceback

import httpx

from storage.errors import StorageError, TransientError
from storage.redact import shown

DONE, FAILED, WRONG_USE, DONE_WITH_FAILURES, INTERRUPTED = 0, 1, 2, 3, 130

mask = shown


def plain(text: str) -> str:
    """A text from outside without what a terminal would take for a command."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)


def complain(message: str) -> None:
    """One line to standard error."""
    print(f"facecrop: {plain(mask(message))}", file=sys.stderr)


def explain(error: Exception, *, verbose: bool) -> str:
    """One line for any error that ends a command; with `verbose` its traceback goes before it."""
    if verbose:
        traceback.print_exception(error)
    if isinstance(error, TransientError):
        return f"{error}; the same command goes on from here"
    if isinstance(error, StorageError):
        return str(error)
    server = os.environ.get("PREFECT_API_URL")
    if server and (isinstance(error, httpx.TransportError) or "reach API" in str(error)):
        return f"no Prefect server answers at {mask(server)}; start it, or unset PREFECT_API_URL"
    text = " ".join(str(error).split()) or "no more is known"
    return f"{type(error).__name__}: {text}" + ("" if verbose else " (--verbose tells more)")

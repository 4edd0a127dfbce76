"""`facecrop serve` and `api-key`: the one place where the command knows the HTTP service."""

from __future__ import annotations

from intake.cli.console import DONE, FAILED, WRONG_USE, complain
from intake.control.connection import ServerError
from intake.http.keys import make_key
from intake.http.settings import ServiceError


def serve(host: str, port: int) -> int:
    """Serve until it is told to stop, and return the exit code."""
    from intake.http import app  # which takes seconds, and a key does not need it

    try:
        app.serve(host, port, complain)
    except ServiceError as error:
        for line in str(error).splitlines():
            complain(line)
        return WRONG_USE
    except (app.ListenError, ServerError) as error:
        complain(str(error))
        return FAILED
    return DONE


def print_key(name: str, *, admin: bool) -> int:
    """Print a new key and its line for the file of keys, and return the exit code."""
    try:
        key, line = make_key(name, admin=admin)
    except ValueError as error:
        complain(str(error))
        return WRONG_USE
    print(f"{key}\n\nThis is shown once. The line for the file FACECROP_HTTP_KEYS:\n\n{line}")
    return DONE

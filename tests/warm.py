"""Services and workers that are forked from a process which has imported what they need.

To import takes one two seconds of CPU, and the tests start dozens. Only their imports are shared:
each has the environment that it is given, and all else of a process of its own.
"""

from __future__ import annotations

import atexit
import json
import os
import runpy
import socket
import subprocess
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

from detection.forking.request import Forked, NotForkedError, fixed
from detection.forking.server import ForkServer
from detection.forking.start import QUIET, ForkServerProcess, can_fork
from tasks.variables import OF_PROGRAMS

_WORDS = "TESTS_WARM_WORDS"
_MODULES = (
    *("prefect.cli", "prefect.cli.worker", "deployments.worker"),
    *("intake.cli.serve", "intake.http.app", "flows.crop_archive"),
)

Process = subprocess.Popen[bytes] | Forked

_servers: dict[str, ForkServerProcess] = {}  # by the variables that are read at import


def start(
    words: Sequence[str], environment: Mapping[str, str], output: int, errors: int
) -> Process:
    """Start `python -m` with these words, in a process group of its own.

    Args:
        words: a module and its arguments.
        environment: all the variables of the process.
        output, errors: descriptors of its standard output and error.
    """
    # the command `facecrop` sets some before it imports Prefect, which here has been imported
    early = {one.name: one.value for one in OF_PROGRAMS} if words[0] == "facecrop" else {}
    forked = {**early, **environment, **QUIET, _WORDS: json.dumps(words)}
    with Path(os.devnull).open("rb") as nothing:
        try:
            return Forked(_server(forked), forked, [nothing.fileno(), output, errors])
        except NotForkedError:
            command = [sys.executable, "-m", *words]
            return subprocess.Popen(
                command, env=environment, stdin=nothing, stdout=output, stderr=errors,
                process_group=0,
            )  # fmt: skip


def _server(environment: Mapping[str, str]) -> str:
    """The socket of the server for such an environment, which is started for the first."""
    if not can_fork():
        raise NotForkedError("this system has no fork servers")
    key = json.dumps(fixed(environment), sort_keys=True)
    if key not in _servers:
        _servers[key] = ForkServerProcess("tests.warm", environment)
        atexit.register(_servers[key].close)
    return _servers[key].path


def _run() -> None:
    module, *words = json.loads(os.environ.pop(_WORDS))
    sys.argv = [module, *words]
    sys.stdout = os.fdopen(1, "w", closefd=False)  # the server's takes a pipe for a file
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def main() -> None:
    """Import, and fork whenever a test asks."""
    server = ForkServer(socket.socket(fileno=int(sys.argv[1])), "warm")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        server.load(_MODULES)
    server.serve(_run)


if __name__ == "__main__":
    main()

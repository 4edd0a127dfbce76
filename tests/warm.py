"""Services and workers that are forked from a process which has imported what they need.

To import takes one two seconds of CPU, and the tests start dozens. Only their imports are shared:
each has the environment that it is given, and all else of a process of its own. Prefect reads its
variables as it is imported, and here once more in each.
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
from infra.servers.process import Process
from tasks.variables import OF_PROGRAMS

_WORDS = "TESTS_WARM_WORDS"
_SHARED = "TESTS_WARM_SERVER"
_MODULES = (
    *("prefect.cli", "prefect.cli.worker", "prefect.cli.server", "prefect.server.api.server"),
    *("deployments.worker", "intake.cli.serve", "intake.http.app", "flows.crop_archive"),
)

# cv2 changes it as it is imported, which one process of the tests has done and another has not
_LIBRARIES = {name: value for name, value in os.environ.items() if name == "LD_LIBRARY_PATH"}

_servers: dict[str, ForkServerProcess] = {}  # by the variables that are read at import


def share() -> None:
    """Have the processes that this one starts ask one server."""
    if can_fork():
        others = _of_prefect(os.environ)[1]
        os.environ[_SHARED] = json.dumps([_key(others), _server(others)])


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
    settings, others = _of_prefect({**early, **environment})
    asked = {**others, _WORDS: json.dumps([words, settings])}
    with Path(os.devnull).open("rb") as nothing:
        try:
            return Forked(_server(asked), asked, [nothing.fileno(), output, errors])
        except NotForkedError:
            command = [sys.executable, "-m", *words]
            return subprocess.Popen(
                command, env=environment, stdin=nothing, stdout=output, stderr=errors,
                process_group=0,
            )  # fmt: skip


def started(words: list[str], environment: Mapping[str, str], log: int) -> Process:
    """Start a Prefect server likewise: see `infra.servers.prefect.prefect_server`."""
    return start(words, environment, log, log)


def _of_prefect(environment: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """The variables that Prefect reads, and the others that a forked process has."""
    settings = {name: value for name, value in environment.items() if name.startswith("PREFECT_")}
    left_out = {*settings, "LD_LIBRARY_PATH"}
    others = {name: value for name, value in environment.items() if name not in left_out}
    return settings, {**others, **_LIBRARIES, **QUIET}


def _key(environment: Mapping[str, str]) -> str:
    return json.dumps(fixed(environment), sort_keys=True)


def _server(environment: Mapping[str, str]) -> str:
    """The socket of the server for such an environment, which is started for the first."""
    if not can_fork():
        raise NotForkedError("this system has no fork servers")
    key = _key(environment)
    shared, path = json.loads(os.environ.get(_SHARED, '["", ""]'))
    if key == shared:
        return str(path)
    if key not in _servers:
        _servers[key] = ForkServerProcess("tests.warm", environment)
        atexit.register(_servers[key].close)
    return _servers[key].path


def _run() -> None:
    from prefect.context import refresh_global_settings_context

    (module, *words), settings = json.loads(os.environ.pop(_WORDS))
    os.environ.update(settings)
    refresh_global_settings_context()
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

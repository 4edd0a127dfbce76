"""Starting a fork server, and ending it."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping

QUIET = {
    "ORT_DISABLE_TELEMETRY": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
}
"""What keeps libraries from starting threads as they are imported."""

_RESTART_SECONDS = 60.0
_BACKLOG = 64


def can_fork() -> bool:
    """Whether fork servers work on this system."""
    return sys.platform == "linux" and hasattr(os, "pidfd_open")


class ForkServerProcess:
    """A fork server in a process of its own, which is started again where it dies.

    Args:
        module: run with the number of the socket's descriptor.
        environment: all the variables of the server, which those that it forks share as far as
            `detection.forking.request.fixed` tells.
    """

    def __init__(self, module: str, environment: Mapping[str, str]) -> None:
        self._module = module
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None
        self._folder = ""
        self._started = -_RESTART_SECONDS
        self._start()

    @property
    def path(self) -> str:
        """Of its socket. Where there is no server, nobody listens there."""
        if self._process is None or self._process.poll() is not None:
            self._start()
        return self._folder + "/socket"

    @property
    def pid(self) -> int:
        """Of the server."""
        return self._process.pid if self._process else 0

    def close(self) -> None:
        """Let the server end, when those that it has forked have ended."""
        if self._process is not None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            self._process = None
        shutil.rmtree(self._folder, ignore_errors=True)

    def _start(self) -> None:
        if time.monotonic() - self._started < _RESTART_SECONDS:  # or a broken one costs every run
            return
        self._started = time.monotonic()
        self.close()
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as listener:
            self._folder = tempfile.mkdtemp(prefix="facecrop-")  # for this user alone
            listener.bind(self._folder + "/socket")
            listener.listen(_BACKLOG)
            fd = listener.fileno()
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", self._module, str(fd)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                pass_fds=[fd],
                env=self._environment,
                process_group=0,
            )

"""Asking a fork server for a process, and what can be done with that process.

Imports little, as it is most of what `deployments.warm.client` does.
"""

from __future__ import annotations

import array
import json
import os
import select
import signal
import socket
import struct
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress

LENGTH = struct.Struct("<I")

PROCESS = struct.Struct("<i")
"""What the server answers: the id of the process, which comes with its pidfd; 0 for none."""

STATUS = struct.Struct("<i")
"""What the server says at the end: the exit code, or minus the signal."""

_ANSWER_SECONDS = 30  # a fork takes hundredths of one, the imports before the first one seconds
_STATUS_SECONDS = 10

# What the interpreter, its libraries or Prefect read when they are imported, and never again.
_PYTHONS = ("PYTHON", "HOME", "LANG", "LC_", "PREFECT_")
_LIBRARIES = ("ARROW_", "JE_", "MKL_", "OMP_", "OPENBLAS_", "OPENCV_", "ORT_")
_READ_AT_IMPORT = (*_PYTHONS, *_LIBRARIES, "LD_", "MALLOC_", "GLIBC_")
_OF_ONE_RUN = "PREFECT__"


class NotForkedError(Exception):
    """There is no fork server, or none for such an environment: start a process instead."""


def fixed(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that a forked process has from its server, whatever it is asked for."""
    return {
        name: value
        for name, value in environment.items()
        if name.startswith(_READ_AT_IMPORT) and not name.startswith(_OF_ONE_RUN)
    }


class Forked:
    """A process forked by a server; used like a `subprocess.Popen` that has no pipes.

    It is killed when this object's process ends, as the server sees that, and lives on where the
    server dies.

    Args:
        path: the socket of the server.
        environment: all the variables of the process.
        fds: its standard input, output and error.

    Raises:
        NotForkedError: no process has been started.
    """

    def __init__(self, path: str, environment: Mapping[str, str], fds: Sequence[int]) -> None:
        self.returncode: int | None = None
        self._connection = socket.socket(socket.AF_UNIX)
        self._pidfd = -1
        try:
            folder = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
            try:
                self._connection.settimeout(_ANSWER_SECONDS)
                self._connection.connect(path)
                send_request(self._connection, environment, [*fds, folder])
                self.pid, self._pidfd = _process(self._connection)
                self._connection.settimeout(None)
            finally:
                os.close(folder)
        except OSError as error:
            self._connection.close()
            raise NotForkedError(str(error)) from error
        if not self.pid:
            self._connection.close()
            raise NotForkedError("another environment")

    def fileno(self) -> int:
        """A descriptor that can be read when the process has ended."""
        return self._pidfd

    def send_signal(self, number: int) -> None:
        """Send the process a signal, if it has not ended."""
        if self.returncode is not None:  # its descriptor may be that of another by now
            return
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, number)

    def kill(self) -> None:
        """End the process at once."""
        self.send_signal(signal.SIGKILL)

    def poll(self) -> int | None:
        """The exit code, or minus the signal; None while it runs."""
        return self._ended(0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end.

        Raises:
            subprocess.TimeoutExpired: it has not come in so many seconds.
        """
        code = self._ended(None if timeout is None else timeout * 1000)
        if code is None:
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)
        return code

    def _ended(self, milliseconds: float | None) -> int | None:
        if self.returncode is None:
            poll = select.poll()
            poll.register(self._pidfd, select.POLLIN)
            if poll.poll(milliseconds):
                self.returncode = _status(self._connection)
                self._connection.close()
                os.close(self._pidfd)
        return self.returncode


def send_request(
    connection: socket.socket, environment: Mapping[str, str], fds: Sequence[int]
) -> None:
    """Ask for a process with that environment, and with these descriptors (0, 1, 2, its folder)."""
    text = json.dumps(dict(environment)).encode()
    rights = array.array("i", fds)
    connection.sendmsg(
        [LENGTH.pack(len(text))], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights.tobytes())]
    )
    connection.sendall(text)


def receive_request(connection: socket.socket, count: int) -> tuple[dict[str, str], list[int]]:
    """What `send_request` sent, with so many descriptors.

    Raises:
        ValueError: it is no such request.
        OSError: it does not come whole.
    """
    head, fds, _, _ = socket.recv_fds(connection, LENGTH.size, count)
    try:
        if len(head) != LENGTH.size or len(fds) != count:
            raise ValueError("not a request")
        with connection.makefile("rb") as whole:
            return json.loads(whole.read(*LENGTH.unpack(head))), fds
    except BaseException:
        for fd in fds:
            os.close(fd)
        raise


def _status(connection: socket.socket) -> int:
    """How the process has ended; as if killed where its server, dead or stopped, does not say."""
    connection.settimeout(_STATUS_SECONDS)
    said = b""
    with suppress(OSError):
        said = connection.recv(STATUS.size)
    return int(STATUS.unpack(said)[0]) if len(said) == STATUS.size else -signal.SIGKILL


def _process(connection: socket.socket) -> tuple[int, int]:
    answer, fds, _, _ = socket.recv_fds(connection, PROCESS.size, 1)
    if len(answer) != PROCESS.size:
        raise ConnectionError("the server has ended")
    return PROCESS.unpack(answer)[0], fds[0] if fds else -1

"""A process that imports once what others need, and forks one of them for whoever asks.

It has one thread, as a fork copies no other, and what that one held would stay held. It serves
those who can open its socket, which lies in a folder of its user's alone.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from detection.forking.request import PROCESS, STATUS, fixed, receive_request

_REQUEST_SECONDS = 5.0  # between the beginning of a request and its end


class ForkServer:
    """Forks a process for each request, until the standard input ends.

    Args:
        listener: the socket that clients connect to, bound before the server imports anything, so
            that the first ones wait instead of finding none.
        name: what `ps` and `top` call a forked process, up to 15 characters.
    """

    def __init__(self, listener: socket.socket, name: str) -> None:
        self._name = name
        self._fixed = fixed(os.environ)
        self._clients: dict[int, socket.socket] = {}  # by the pidfd of the process
        self._poll = select.poll()
        self._listener = listener
        self._poll.register(self._listener, select.POLLIN)
        self._poll.register(0, select.POLLIN)

    def load(self, modules: Iterable[str]) -> None:
        """Import what the processes need.

        Looking for garbage meanwhile is a sixth of what Prefect takes, and finds next to none. What
        is there then is left out for good, or the first look in each process would copy all of it.
        """
        gc.disable()
        for module in modules:
            importlib.import_module(module)
        gc.collect()
        gc.freeze()
        gc.enable()

    def serve(self, work: Callable[[], None]) -> None:
        """Fork for each request a process that calls `work`; returns in these, and at the end.

        The processes have the environment, the descriptors 0 to 2 and the folder that were asked
        for. Those that still run when the standard input ends are waited for.
        """
        for number in (signal.SIGINT, signal.SIGTERM):  # meant for whoever started the server
            signal.signal(number, signal.SIG_IGN)
        open_still = True
        while open_still or self._clients:
            # one at a time: what is done about it may close others, whose numbers are given again
            fd = self._poll.poll()[0][0]
            if fd == 0:
                open_still = False
                self._poll.unregister(0)
                self._poll.unregister(self._listener)
                self._listener.close()
            elif open_still and fd == self._listener.fileno():
                if self._accept():
                    work()
                    return
            elif fd in self._clients:
                self._reap(fd)
            else:
                self._kill(fd)

    def _accept(self) -> bool:
        """Fork for one client; whether this is the new process."""
        connection, _ = self._listener.accept()
        connection.settimeout(_REQUEST_SECONDS)
        try:
            environment, fds = receive_request(connection, 4)
        except (OSError, ValueError):
            connection.close()
            return False
        try:
            if fixed(environment) != self._fixed or not _has_one_thread():
                connection.sendall(PROCESS.pack(0))
                connection.close()
                return False
            pid = os.fork()
            if not pid:
                self._become(connection, environment, fds)
                return True
        except OSError:  # no process to be had, or a client that has gone
            connection.close()
            return False
        finally:
            for fd in fds:
                with contextlib.suppress(OSError):
                    os.close(fd)
        self._note(pid, connection)
        return False

    def _note(self, pid: int, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):  # it does so itself, sooner or later than this
            os.setpgid(pid, pid)
        try:
            pidfd = os.pidfd_open(pid)
        except OSError:  # no descriptor left
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            connection.close()
            return
        self._clients[pidfd] = connection
        self._poll.register(pidfd, select.POLLIN)
        self._poll.register(connection, 0)  # that it hangs up is told anyhow
        with contextlib.suppress(OSError):
            socket.send_fds(connection, [PROCESS.pack(pid)], [pidfd])

    def _reap(self, pidfd: int) -> None:
        """Tell a client how its process has ended."""
        connection = self._clients.pop(pidfd)
        self._poll.unregister(pidfd)
        with contextlib.suppress(KeyError):
            self._poll.unregister(connection)
        ended = os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
        assert ended is not None
        code = ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status
        with contextlib.suppress(OSError):
            connection.sendall(STATUS.pack(code))
        connection.close()
        os.close(pidfd)

    def _kill(self, fd: int) -> None:
        """End the process of a client that has gone."""
        self._poll.unregister(fd)
        for pidfd, connection in self._clients.items():
            if connection.fileno() == fd:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(pidfd, signal.SIGKILL)

    def _become(
        self, connection: socket.socket, environment: Mapping[str, str], fds: list[int]
    ) -> None:
        """Make of this copy of the server the process that was asked for."""
        Path("/proc/self/comm").write_text(self._name)
        os.setpgid(0, 0)  # what it starts can be ended with it
        self._listener.close()
        connection.close()
        for pidfd, other in self._clients.items():
            os.close(pidfd)
            other.close()
        self._clients.clear()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for number, fd in enumerate(fds[:3]):
            os.dup2(fd, number)
        os.fchdir(fds[3])
        os.environ.clear()
        os.environ.update(environment)
        time.tzset()
        numpy = sys.modules.get("numpy")
        if numpy is not None:
            numpy.random.seed()  # Python's own generator does so by itself


def _has_one_thread() -> bool:
    return sum(1 for _ in Path("/proc/self/task").iterdir()) == 1

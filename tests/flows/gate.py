"""An address before a server of this machine, from which the server may go away."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_HOST = "127.0.0.1"
_PIECE = 1 << 16


class Gate:
    """A TCP port whose connections lead to a server, which knows nothing of it.

    For a client there is no difference between that and a server that is killed or stopped: its
    connections end and nobody listens, or they stay and nothing comes.

    Attributes:
        port: of 127.0.0.1.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server((_HOST, 0))
        self.port = int(self._listener.getsockname()[1])
        self._ends: list[socket.socket] = []
        self._flows = threading.Event()
        self._flows.set()
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def freeze(self) -> None:
        """Pass nothing on from now on, in any connection."""
        self._flows.clear()

    def vanish(self) -> None:
        """End all connections, and listen no more."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # which wakes who accepts
        self._accepting.join()
        self._listener.close()
        self._flows.set()
        for end in self._ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection((_HOST, self._target))
                self._ends += [near, far]
                for ways in ((near, far), (far, near)):
                    threading.Thread(target=self._pass_on, args=ways, daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(_PIECE):
                self._flows.wait()
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)


@contextmanager
def gate(target: int) -> Iterator[Gate]:
    """Open one to a port of 127.0.0.1, and close it."""
    opened = Gate(target)
    try:
        yield opened
    finally:
        opened.vanish()

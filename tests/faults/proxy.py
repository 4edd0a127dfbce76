"""A proxy before an S3-compatible server that answers as a bad day does.

Requests are passed on as they came, so signatures stay good. Each fault that was ordered befalls
one request: the next that it fits.
"""

from __future__ import annotations

import http.client
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

FAULTS = (
    "reset",
    "reset after",
    "delay",
    "cut",
    "500",
    "503",
    "SlowDown",
    "short range",
    "wrong range",
)
"""reset: the connection, before the server is asked; reset after: when it has answered; delay: the
answer, by seconds; cut: the answer, in the middle of its body; 500, 503, SlowDown: instead of an
answer; short range: fewer bytes than asked for, as a complete answer; wrong range: as many that
stand elsewhere, as the right answer."""

_OF_RANGES = ("short range", "wrong range")
_ERRORS = {
    "500": (500, "InternalError"),
    "503": (503, "ServiceUnavailable"),
    "SlowDown": (503, "SlowDown"),
}
_DELAY_SECONDS = 5
_TIMEOUT_SECONDS = 120
_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding"}  # RFC 9110, 7.6.1


class FaultProxy:
    """Faults to come, and those that came.

    Attributes:
        endpoint: of the proxy.
        injected: how many of each kind have befallen a request.
    """

    def __init__(self, target: str) -> None:
        parts = urlsplit(target)
        assert parts.hostname is not None
        assert parts.port is not None
        self._target = (parts.hostname, parts.port)
        self._lock = threading.Lock()
        self._ordered: list[str] = []
        self.injected: Counter[str] = Counter()
        self.endpoint = ""

    def order(self, fault: str) -> None:
        """Has a fault befall the next request that it fits."""
        with self._lock:
            self._ordered.append(fault)

    def waiting(self) -> int:
        """How many faults have been ordered and have not come."""
        return len(self._ordered)

    def withdraw(self, fault: str) -> bool:
        """Take an order back; False where the fault has come meanwhile."""
        with self._lock, suppress(ValueError):
            self._ordered.remove(fault)
            return True
        return False

    def take(self, ranged: bool) -> str | None:
        """The fault that befalls a request now."""
        with self._lock:
            for fault in self._ordered:
                if ranged or fault not in _OF_RANGES:
                    self._ordered.remove(fault)
                    self.injected[fault] += 1
                    return fault
        return None

    def connect(self) -> http.client.HTTPConnection:
        """A connection to the server behind."""
        return http.client.HTTPConnection(*self._target, timeout=_TIMEOUT_SECONDS)


@contextmanager
def fault_proxy(target: str) -> Iterator[FaultProxy]:
    """Run a proxy before the server at an address."""
    proxy = FaultProxy(target)

    class Handler(_Handler):
        faults = proxy

    server = _Server(("127.0.0.1", 0), Handler)
    proxy.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Says nothing of clients that are killed while they are answered."""


class _Handler(BaseHTTPRequestHandler):
    faults: FaultProxy
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""

    def _pass(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = self.faults.take("Range" in self.headers and self.command == "GET")
        if fault == "reset":
            self._reset()
            return
        if fault in _ERRORS:
            self._refuse(*_ERRORS[fault])
            return
        try:
            status, given, data, length = self._ask(dict(self.headers.items()), body)
        except (OSError, http.client.HTTPException):  # it is down: so is what stands before it
            self._reset()
            return
        if fault == "reset after":
            self._reset()
            return
        if fault == "delay":
            time.sleep(_DELAY_SECONDS)
        if fault == "wrong range":
            data = data[len(data) // 2 :] + data[: len(data) // 2]
        if fault == "short range":
            data = data[: len(data) // 2]
            length = str(len(data))
        self._answer(status, given, length)
        if self.command != "HEAD":
            cut = fault == "cut" and len(data) > 1
            with suppress(OSError):
                self.wfile.write(data[: len(data) // 2] if cut else data)
            if cut:
                self._reset()

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _pass  # noqa: N815 the base class names them

    def _ask(
        self, headers: dict[str, str], body: bytes
    ) -> tuple[int, list[tuple[str, str]], bytes, str]:
        behind = self.faults.connect()
        try:
            behind.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in headers.items():
                if name.lower() not in _HOP_BY_HOP:
                    behind.putheader(name, value)
            behind.endheaders(body)
            answer = behind.getresponse()
            data = answer.read()
            given = [
                (name, value)
                for name, value in answer.getheaders()
                if name.lower() not in _HOP_BY_HOP | {"content-length"}
            ]
            return answer.status, given, data, answer.getheader("Content-Length", str(len(data)))
        finally:
            behind.close()

    def _answer(self, status: int, headers: list[tuple[str, str]], length: str) -> None:
        self.send_response_only(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", length)
        self.end_headers()

    def _refuse(self, status: int, code: str) -> None:
        data = f"<?xml version='1.0'?><Error><Code>{code}</Code></Error>".encode()
        self._answer(status, [("Content-Type", "application/xml")], str(len(data)))
        if self.command != "HEAD":
            self.wfile.write(data)

    def _reset(self) -> None:
        """End the connection so that the client's kernel says "reset by peer"."""
        at_once = struct.pack("ii", 1, 0)
        with suppress(OSError):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
            self.wfile.flush()
        self.close_connection = True
        self.connection.close()

"""A Prefect server of one's own: a process, on a free port, with a home that is thrown away."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

_START_SECONDS = 180
_STOP_SECONDS = 20
_HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Server:
    """A running Prefect server.

    Attributes:
        pid: of its one process.
        url: of its API.
    """

    pid: int
    url: str

    def cpu_seconds(self) -> float | None:
        """CPU that it has used since it started; None where the system has no /proc."""
        try:
            stat = Path(f"/proc/{self.pid}/stat").read_text()
        except OSError:
            return None
        # proc(5): fields 14 and 15, of which the first two, with a name that may hold anything,
        # end at the last bracket
        user, system = stat.rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


@contextmanager
def prefect_server() -> Iterator[Server]:
    """Runs a server and points this process at it.

    Prefect reads where its server is when it is first imported, so that has to happen inside.

    Raises:
        RuntimeError: the server does not start; the message has the end of its log.
    """
    with TemporaryDirectory(ignore_cleanup_errors=True) as home:
        port = _free_port()
        url = f"http://{_HOST}:{port}/api"
        # Nothing of the caller's own Prefect: neither its server nor its database nor its key.
        for name in [name for name in os.environ if name.startswith("PREFECT_")]:
            del os.environ[name]
        os.environ["PREFECT_HOME"] = home
        os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"
        command = [sys.executable, "-m", "prefect", "server", "start", "--no-ui"]
        log = Path(home) / "server.log"
        with log.open("wb") as sink:
            process = subprocess.Popen(
                [*command, "--host", _HOST, "--port", str(port)],
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
            )
        try:
            _wait_until_ready(process, url, log)
            os.environ["PREFECT_API_URL"] = url
            try:
                yield Server(process.pid, url)
            finally:
                _drain()
        finally:
            process.terminate()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _drain() -> None:
    """Sends what Prefect's client holds back, for which it would look for its server a minute."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    APILogWorker.drain_all()
    EventsWorker.drain_all()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        return int(probe.getsockname()[1])


def _wait_until_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    give_up = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < give_up:
        try:
            with urllib.request.urlopen(f"{url}/ready", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    end = log.read_text(errors="replace")[-2000:]
    raise RuntimeError(f"The Prefect server did not start. Its log ends:\n{end}")

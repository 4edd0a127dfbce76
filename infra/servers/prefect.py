"""A Prefect server of one's own: a process, with a home that is thrown away."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import certifi

from infra.servers.ports import answers, free_ports
from infra.servers.process import START_SECONDS, Process, cpu_seconds, end

_HOST = "127.0.0.1"


def started(words: list[str], environment: Mapping[str, str], log: int) -> Process:
    """Start `python -m` with these words, and all that it says goes to a descriptor."""
    command, nothing = [sys.executable, "-m", *words], subprocess.DEVNULL
    return subprocess.Popen(command, env=environment, stdin=nothing, stdout=log, stderr=log)


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
        return cpu_seconds(self.pid)


@contextmanager
def prefect_server(
    port: int = 0,
    *,
    ui: bool = False,
    start: Callable[[list[str], Mapping[str, str], int], Process] = started,
    **settings: str,
) -> Iterator[Server]:
    """Run a server and point this process at it.

    Prefect reads where its server is when it is first imported, so that has to happen inside.

    Args:
        port: that it listens on; 0 for a free one.
        ui: whether it serves Prefect's interface.
        start: as `started`, which is how it is started.
        settings: environment variables of the server alone.

    Raises:
        RuntimeError: the server does not start; the message has the end of its log.
    """
    with TemporaryDirectory(ignore_cleanup_errors=True) as home:
        port = port or free_ports(1)[0]
        url = f"http://{_HOST}:{port}/api"
        # Nothing of the caller's own Prefect: neither its server nor its database nor its key.
        for name in [name for name in os.environ if name.startswith("PREFECT_")]:
            del os.environ[name]
        os.environ["PREFECT_HOME"] = home
        os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"
        os.environ["PREFECT_API_SSL_CERT_FILE"] = str(one_authority(Path(home)))
        words = ["prefect", "server", "start", "--ui" if ui else "--no-ui"]
        words += ["--host", _HOST, "--port", str(port)]
        log = Path(home) / "server.log"
        with log.open("wb") as sink:
            process = start(words, os.environ | settings, sink.fileno())
        try:
            _wait_until_ready(process, url, log)
            os.environ["PREFECT_API_URL"] = url
            try:
                yield Server(process.pid, url)
            finally:
                drain()
        finally:
            end(process)


def drain() -> None:
    """Send what Prefect's client holds back, for which it would look for its server a minute."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    APILogWorker.drain_all()
    EventsWorker.drain_all()


def one_authority(folder: Path) -> Path:
    """Write one certificate authority into a folder, for who talks to a server in plain HTTP.

    Each of Prefect's clients, of which a run makes dozens, reads all that it may be asked to trust:
    25 ms of CPU for the hundreds that certifi has.
    """
    end = "-----END CERTIFICATE-----\n"
    path = folder / "one-authority.pem"
    path.write_text(Path(certifi.where()).read_text().partition(end)[0] + end)
    return path


def _wait_until_ready(process: Process, url: str, log: Path) -> None:
    give_up = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < give_up:
        if answers(f"{url}/ready"):
            return
        time.sleep(0.2)
    raise not_started("Prefect server", log)


def not_started(what: str, log: Path) -> RuntimeError:
    """The error for a process that ended before it was ready."""
    end = log.read_text(errors="replace")[-2000:]
    return RuntimeError(f"The {what} did not start. Its log ends:\n{end}")

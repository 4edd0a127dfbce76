"""Prefect as it runs in production: API server and services apart, on PostgreSQL and Redis.

Each is a process of its own that can be killed and started again; all of them listen on free ports
of 127.0.0.1 and are ended with the stack.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import redis

from infra.servers.ports import answers, free_ports
from infra.servers.prefect import drain, one_authority
from infra.servers.process import START_SECONDS

_AUTHORITIES = "PREFECT_API_SSL_CERT_FILE"
_STOP_SECONDS = 30
_POSTGRES_USER = "postgres"  # initdb and postgres refuse to run as root


class Daemon:
    """A server process with its log in a file, that can be killed and started again."""

    def __init__(
        self,
        name: str,
        command: list[str],
        folder: Path,
        ready: Callable[[int], bool],  # given its process id
        environment: Mapping[str, str] | None = None,
        user: str | None = None,
    ) -> None:
        self.name = name
        self._command = command
        self._log = folder / f"{name}.log"
        self._ready = ready
        self._environment = {**os.environ, **(environment or {})}
        self._user = user
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Of its process; 0 where it does not run."""
        return self._process.pid if self._process else 0

    def start(self) -> None:
        """Start it, and wait until it answers.

        Raises:
            RuntimeError: it does not; the message has the end of its log.
        """
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                env=self._environment,
                user=self._user,
                cwd=self._log.parent,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        until = time.monotonic() + START_SECONDS
        while not self._ready(self._process.pid):
            if self._process.poll() is not None or time.monotonic() > until:
                end = self._log.read_text(errors="replace")[-2000:]
                raise RuntimeError(f"{self.name} did not start. Its log ends:\n{end}")
            time.sleep(0.2)

    def kill(self, how: signal.Signals = signal.SIGKILL) -> None:
        """End it with all that it has started, gracefully or not."""
        if self._process is None:
            return
        # a postmaster that is told to stop waits for its clients unless it is told to cut them off
        graceful = signal.SIGINT if self.name == "postgres" else signal.SIGTERM
        try:
            if how == signal.SIGKILL:
                os.killpg(self._process.pid, how)
            else:
                self._process.send_signal(graceful)
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._process = None

    @contextmanager
    def running(self) -> Iterator[None]:
        """Start it, and end it."""
        try:
            self.start()
            yield
        finally:
            self.kill()

    def restart(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End it and start it again, on the same data and ports."""
        self.kill(how)
        self.start()


@dataclass(frozen=True)
class Stack:
    """A running stack.

    Attributes:
        environment: what a client of the server needs.
        database: the URL of the server's rows.
    """

    postgres: Daemon
    redis: Daemon
    server: Daemon
    services: Daemon
    environment: dict[str, str]
    database: str
    folder: Path

    def lose_all_rows(self) -> None:
        """Start everything again on an empty database and an empty Redis, as after a disk died."""
        for daemon in (self.services, self.server, self.redis, self.postgres):
            daemon.kill()
        for name in ("postgres", "redis"):
            for entry in (self.folder / name).iterdir():
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        _init_postgres(self.folder / "postgres")
        for daemon in (self.postgres, self.redis, self.server, self.services):
            daemon.start()


@contextmanager
def database() -> Iterator[str]:
    """Run PostgreSQL alone, and end it; give the URL that a Prefect server takes.

    It lasts no longer, so nothing waits for the disk.
    """
    (port,) = free_ports(1)
    with (
        _open_folder() as folder,
        _postgres(folder / "postgres", port, fsync="off").running(),
    ):
        yield _database_url(port)


@contextmanager
def redis_alone() -> Iterator[str]:
    """Run Redis alone, and end it; give its URL."""
    (port,) = free_ports(1)
    with _open_folder() as folder, _redis(folder / "redis", port).running():
        yield f"redis://127.0.0.1:{port}"


def save_rows(url: str, file: Path) -> None:
    """Write all that a database holds into a file."""
    _run_on(url, "pg_dump", "--format", "custom", "--file", str(file))


def load_rows(url: str, file: Path) -> None:
    """Fill an empty database with what another held."""
    _run_on(url, "pg_restore", "--exit-on-error", "--single-transaction", str(file))


def _run_on(url: str, program: str, *options: str) -> None:
    place = url.replace("+asyncpg", "")
    subprocess.run([_postgres_programs() / program, "--dbname", place, *options], check=True)


@contextmanager
def prefect_stack(rows: Path | None = None) -> Iterator[Stack]:
    """Run all of it in a temporary folder, and end it.

    Args:
        rows: a file of `save_rows`, with what the database holds at first.
    """
    postgres_port, redis_port, api_port = free_ports(3)
    with ExitStack() as stack:
        folder = stack.enter_context(_open_folder())
        postgres = _postgres(folder / "postgres", postgres_port)
        redis_server = _redis(folder / "redis", redis_port)
        url = f"http://127.0.0.1:{api_port}/api"
        environment = _server_environment(folder, postgres_port, redis_port)
        prefect = [sys.executable, "-m", "prefect", "server"]
        host = ["--host", "127.0.0.1", "--port", str(api_port)]
        server = Daemon(
            "server",
            [*prefect, "start", "--no-services", "--no-ui", *host],
            folder,
            lambda _: answers(f"{url}/ready"),
            environment,
        )
        services = Daemon(
            "services",
            [*prefect, "services", "start"],
            folder,
            lambda pid: _docket_works(redis_port, pid),
            environment,
        )
        for daemon in (postgres, redis_server, server, services):
            stack.callback(daemon.kill)
        database = _database_url(postgres_port)
        postgres.start()
        if rows is not None:
            load_rows(database, rows)
        for daemon in (redis_server, server, services):
            daemon.start()
        try:
            client = {"PREFECT_API_URL": url, _AUTHORITIES: environment[_AUTHORITIES]}
            yield Stack(postgres, redis_server, server, services, client, database, folder)
        finally:
            drain()


@contextmanager
def _open_folder() -> Iterator[Path]:
    """Not one of pytest's folders, which only root may enter."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


def _database_url(port: int) -> str:
    return f"postgresql+asyncpg://prefect@127.0.0.1:{port}/postgres"


def _postgres_programs() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda bin: int(bin.parent.name))
    if not found:
        raise RuntimeError("PostgreSQL is missing: install Debian's postgresql")
    return found[-1]


def _postgres_user() -> str | None:
    return _POSTGRES_USER if os.geteuid() == 0 else None


def _init_postgres(folder: Path) -> None:
    options = ["--username", "prefect", "--auth", "trust", "--encoding", "UTF8", "--no-sync"]
    subprocess.run(
        [_postgres_programs() / "initdb", "--pgdata", folder / "data", *options],
        user=_postgres_user(),
        cwd=folder,
        check=True,
        capture_output=True,
    )


def _postgres(folder: Path, port: int, **others: str) -> Daemon:
    programs, user = _postgres_programs(), _postgres_user()
    folder.mkdir()
    if user:
        os.chown(folder, pwd.getpwnam(user).pw_uid, -1)
    _init_postgres(folder)
    data = folder / "data"
    settings = {
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": str(folder),
        "max_connections": "200",
        **others,
    }
    command = [str(programs / "postgres"), "-D", str(data), "-p", str(port)]
    return Daemon(
        "postgres",
        [*command, *(f"--{name}={value}" for name, value in settings.items())],
        folder,
        lambda _: (
            not subprocess.run(
                [programs / "pg_isready", "--host", "127.0.0.1", "--port", str(port)],
                capture_output=True,
            ).returncode
        ),
        user=user,
    )


def _redis(folder: Path, port: int) -> Daemon:
    program = shutil.which("redis-server")
    if program is None:
        raise RuntimeError("Redis is missing: install Debian's redis-server")
    folder.mkdir()
    settings = {"bind": "127.0.0.1", "port": port, "dir": folder, "appendonly": "yes", "save": ""}
    command = [
        program,
        *(str(part) for item in settings.items() for part in (f"--{item[0]}", item[1])),
    ]
    return Daemon("redis", command, folder, lambda _: _pings(port))


def _server_environment(folder: Path, postgres_port: int, redis_port: int) -> dict[str, str]:
    """As infra/compose.yaml has it."""
    store = f"redis://127.0.0.1:{redis_port}"
    return {
        "PREFECT_HOME": str(folder / "home"),
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": _database_url(postgres_port),
        "PREFECT_REDIS_MESSAGING_URL": f"{store}/0",
        "PREFECT_SERVER_EVENTS_MESSAGING_BROKER": "prefect_redis.messaging",
        "PREFECT_SERVER_EVENTS_MESSAGING_CACHE": "prefect_redis.messaging",
        "PREFECT_SERVER_EVENTS_CAUSAL_ORDERING": "prefect_redis.ordering",
        "PREFECT_SERVER_EVENTS_EXPIRED_BUCKET_BUFFER": "P1D",
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect_redis.lease_storage",
        "PREFECT_SERVER_WORKER_CHANNEL_CLEANUP_QUEUE_STORAGE": "prefect_redis.cleanup_queue",
        "PREFECT_REDIS_WORKER_CLEANUP_QUEUE_URL": f"{store}/0",
        "PREFECT_SERVER_DOCKET_URL": f"{store}/1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        _AUTHORITIES: str(one_authority(folder)),
        "DO_NOT_TRACK": "1",
    }


def _pings(port: int) -> bool:
    try:
        with redis.Redis(host="127.0.0.1", port=port, socket_timeout=2) as client:
            return bool(client.ping())
    except redis.RedisError:
        return False


def _docket_works(port: int, pid: int) -> bool:
    """The services have no port, but say every two seconds in Redis that they are at work."""
    with redis.Redis(host="127.0.0.1", port=port, db=1, decode_responses=True) as client:
        alive = client.zrangebyscore("prefect:workers", time.time() - 5, "+inf")
    return f"{socket.gethostname()}#{pid}" in alive

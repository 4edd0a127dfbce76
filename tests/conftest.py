import fcntl
import gc
import os
import re
import signal
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from detection.forking.start import ForkServerProcess, can_fork
from detection.sandbox.process import FORK_SERVER, child_environment
from intake.cli.samples import write_sample
from tests.services import DATABASE, S3, seaweedfs

SAMPLE_MEMBERS = 40  # in which every kind of member is, and one of each twice
SERVICES = {"prefect", "s3"}

_FILE_MARKS = re.compile(r"^pytestmark = .*", re.MULTILINE)
_MARK = re.compile(r"pytest\.mark\.(\w+)")
_WITHOUT = re.compile(r"not \w+( and not \w+)*")

# What is imported and collected stays: to look through it for garbage takes half of the collection.
gc.disable()

# A shell that starts them in the background has the tests ignore SIGINT, and all that they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# no test may depend on how fast the machine is
settings.register_profile("facecrop", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("facecrop")
settings.register_profile("fast", settings.get_profile("facecrop"), max_examples=30)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leaves unread the files of which -m wants no test: what they import takes seconds."""
    wanted = str(config.option.markexpr)
    if collection_path.suffix != ".py" or not _WITHOUT.fullmatch(wanted):
        return None
    marks = _MARK.findall("".join(_FILE_MARKS.findall(collection_path.read_text())))
    return True if any(f"not {mark}" in wanted.split(" and ") for mark in marks) else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs a server, and put the files with slow tests and those that need one first.

    First of all those whose tests may take longest: at the end no process is to wait for another's.
    """
    for item in items:
        if SERVICES.intersection(getattr(item, "fixturenames", ())):
            item.add_marker("service")
    allowed: dict[Path, float] = {}
    for item in items:
        if item.get_closest_marker("slow") or item.get_closest_marker("service"):
            timeout = item.get_closest_marker("timeout")
            seconds = float(timeout.args[0]) if timeout else 0.0
            allowed[item.path] = max(allowed.get(item.path, 0.0), seconds)
    items.sort(key=lambda item: allowed.get(item.path, -1.0), reverse=True)


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session", autouse=True)
def forked_images() -> Iterator[None]:
    """Have images worked on in forked processes, as a worker does: one is started in 0.4 CPU s."""
    if not can_fork():
        yield
        return
    environment = child_environment(os.environ)
    with (
        closing(ForkServerProcess("detection.sandbox.forkserver", environment)) as server,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv(FORK_SERVER, server.path)
        yield


@pytest.fixture
def started_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the processes for images started, as `facecrop crop` does."""
    monkeypatch.delenv(FORK_SERVER, raising=False)


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    """A real S3-compatible server; the environment points at it for the rest of the session."""
    with (
        seaweedfs(tmp_path_factory.mktemp("seaweedfs")) as server,
        pytest.MonkeyPatch.context() as patch,
    ):
        for name, value in server.environment.items():
            patch.setenv(name, value)
        yield server


@pytest.fixture(scope="session")
def prefect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A real Prefect server that this process uses; give what others need to use it, too.

    On PostgreSQL: what Prefect takes by itself, SQLite, refuses a write now and then when workers,
    runs and automations all write at once.
    """
    from prefect.settings import (
        PREFECT_API_SSL_CERT_FILE,
        PREFECT_API_URL,
        temporary_settings,
    )

    from infra.servers.prefect import prefect_server
    from infra.servers.stack import database, load_rows, save_rows
    from tests.deployed import deploy

    several = "PYTEST_XDIST_WORKER" in os.environ  # processes; their folders lie in one
    shared = tmp_path_factory.getbasetemp().parent if several else tmp_path_factory.getbasetemp()
    rows = shared / "deployed.rows"
    with database() as url, (shared / "deployed.lock").open("w") as lock, ExitStack() as running:
        # The first of several deploys all of Facecrop, for the others, too: it takes a while.
        fcntl.flock(lock, fcntl.LOCK_EX)
        there = rows.exists()
        if there:
            load_rows(url, rows)
        server = running.enter_context(prefect_server(PREFECT_SERVER_DATABASE_CONNECTION_URL=url))
        os.environ[DATABASE] = url
        certificates = os.environ["PREFECT_API_SSL_CERT_FILE"]
        here = {PREFECT_API_URL: server.url, PREFECT_API_SSL_CERT_FILE: certificates}
        running.enter_context(temporary_settings(here))
        if several and not there:
            deploy()
            save_rows(url, rows)
        fcntl.flock(lock, fcntl.LOCK_UN)
        yield {"PREFECT_API_URL": server.url}


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ZIP as `facecrop sample` writes it."""
    path = tmp_path_factory.mktemp("sample") / "sample.zip"
    write_sample(path, SAMPLE_MEMBERS)
    return path

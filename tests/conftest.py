import fcntl
import gc
import os
import re
import signal
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadFileScheduling
from xdist.workermanage import WorkerController

from detection.forking.start import ForkServerProcess, can_fork
from detection.sandbox.process import FORK_SERVER, child_environment
from intake.cli.samples import write_sample
from tests import warm
from tests.services import DATABASE, S3, seaweedfs

SAMPLE_MEMBERS = 40  # in which every kind of member is, and one of each twice
SERVICES = {"prefect", "s3"}
SERVED = 3  # processes that begin with the tests that need a service

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


def pytest_configure(config: pytest.Config) -> None:
    """Have one process import for the services of all processes, if there are to be any."""
    one_of_several = "PYTEST_XDIST_WORKER" in os.environ
    if one_of_several or not getattr(config.option, "numprocesses", None):
        return
    if "not service" not in config.option.markexpr:
        warm.share()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leaves unread the files of which -m wants no test: what they import takes seconds."""
    wanted = str(config.option.markexpr)
    if collection_path.suffix != ".py" or not _WITHOUT.fullmatch(wanted):
        return None
    marks = _MARK.findall("".join(_FILE_MARKS.findall(collection_path.read_text())))
    return True if any(f"not {mark}" in wanted.split(" and ") for mark in marks) else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs a server, and put the files with such tests first, then the slow ones.

    First of all those whose tests may take longest: at the end no process is to wait for another's.
    """
    first: dict[Path, tuple[bool, float, bool]] = {}
    for item in items:
        if SERVICES.intersection(getattr(item, "fixturenames", ())):
            item.add_marker("service")
        marks = {mark.name for mark in item.iter_markers()}
        timeout = item.get_closest_marker("timeout")
        found = "service" in marks, float(timeout.args[0]) if timeout else 0.0, "slow" in marks
        first[item.path] = max(found, first.get(item.path, found))
    items.sort(key=lambda item: first[item.path], reverse=True)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadFileScheduling:
    """Of several processes have three begin with the first files, and the others with the last.

    What waits for servers and what computes are at work side by side, and three servers do.
    """
    return FromBothEnds(config, log)


class FromBothEnds(LoadFileScheduling):  # type: ignore[misc]
    def _assign_work_unit(self, node: WorkerController) -> None:
        if int(node.gateway.id.removeprefix("gw")) >= SERVED:
            self.workqueue.move_to_end(next(reversed(self.workqueue)), last=False)
        super()._assign_work_unit(node)


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
def deployed_rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The rows of a Prefect server with all of Facecrop on it: a file that `load_rows` takes.

    Of several processes the first makes it, for the others, too: it takes 15 seconds of CPU.
    """
    from infra.servers.stack import database, save_rows
    from tests.deployed import deploy

    several = "PYTEST_XDIST_WORKER" in os.environ  # processes; their folders lie in one
    shared = tmp_path_factory.getbasetemp().parent if several else tmp_path_factory.getbasetemp()
    rows = shared / "deployed.rows"
    with (shared / "deployed.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not rows.exists():
            with database() as url, used_server(url):
                deploy()
                save_rows(url, rows)
    return rows


@pytest.fixture(scope="session")
def prefect(deployed_rows: Path) -> Iterator[dict[str, str]]:
    """A real Prefect server that this process uses; give what others need to use it, too.

    All of Facecrop is on it. It is on PostgreSQL: what Prefect takes by itself, SQLite, refuses a
    write now and then when workers, runs and automations all write at once.
    """
    from infra.servers.stack import database, load_rows

    with database() as url:
        load_rows(url, deployed_rows)
        with used_server(url) as address:
            os.environ[DATABASE] = url
            yield {"PREFECT_API_URL": address}


@contextmanager
def used_server(database_url: str) -> Iterator[str]:
    """Run a Prefect server that this process uses, and give its address."""
    from prefect.settings import (
        PREFECT_API_SSL_CERT_FILE,
        PREFECT_API_URL,
        temporary_settings,
    )

    from infra.servers.prefect import prefect_server

    with prefect_server(
        start=warm.started, PREFECT_SERVER_DATABASE_CONNECTION_URL=database_url
    ) as server:
        certificates = os.environ["PREFECT_API_SSL_CERT_FILE"]
        here = {PREFECT_API_URL: server.url, PREFECT_API_SSL_CERT_FILE: certificates}
        with temporary_settings(here):
            yield server.url


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ZIP as `facecrop sample` writes it."""
    path = tmp_path_factory.mktemp("sample") / "sample.zip"
    write_sample(path, SAMPLE_MEMBERS)
    return path

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from benchmarks.server import prefect_server
from intake.samples import write_sample
from tests.services import S3, seaweedfs
from tests.stack import DATABASE, database

SAMPLE_MEMBERS = 100


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the files with slow tests first: at the end no process is to wait for another's."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


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
def prefect() -> Iterator[dict[str, str]]:
    """A real Prefect server that this process uses; gives what others need to use it, too.

    On PostgreSQL: what Prefect takes by itself, SQLite, refuses a write now and then when workers,
    runs and automations all write at once.
    """
    with (
        database() as url,
        prefect_server(PREFECT_SERVER_DATABASE_CONNECTION_URL=url) as server,
    ):
        os.environ[DATABASE] = url
        environment = {"PREFECT_API_URL": server.url}
        with temporary_settings({PREFECT_API_URL: server.url}):
            yield environment


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ZIP as `facecrop sample` writes it."""
    path = tmp_path_factory.mktemp("sample") / "sample.zip"
    write_sample(path, SAMPLE_MEMBERS)
    return path

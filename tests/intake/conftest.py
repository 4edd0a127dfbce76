"""What the tests of the HTTP service share."""

import os
import time
import zipfile
from collections.abc import Iterator

import pytest

from tests.intake.web import MIB, Web, known_batches, serving
from tests.services import S3


@pytest.fixture(scope="session")
def deployed(prefect: dict[str, str]) -> dict[str, str]:
    """A Prefect server with all of Facecrop on it."""
    from tests.deployed import deploy

    os.environ["PREFECT_API_URL"] = prefect["PREFECT_API_URL"]
    deploy()
    return prefect


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A ZIP of 30 MiB with three members, which are no images."""
    path = tmp_path_factory.mktemp("archive") / "a.zip"
    with zipfile.ZipFile(path, "w") as target:
        for number in range(3):
            target.writestr(f"{number}.jpg", os.urandom(10 * MIB))
    return path.read_bytes()


@pytest.fixture(scope="module", params=["local", "s3"])
def web(
    request: pytest.FixtureRequest,
    deployed: dict[str, str],
    s3: S3,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Web]:
    """A service whose store is a folder, then one whose store is a prefix."""
    folder = tmp_path_factory.mktemp("web")
    store = str(folder / "store") if request.param == "local" else f"s3://{s3.bucket}/{folder.name}"
    with serving(folder, store, {**deployed, **s3.environment}, stall_seconds=3) as service:
        yield service


@pytest.fixture
def nothing_new(web: Web) -> Iterator[None]:
    """Check that a test leaves no file, folder, unfinished object or batch behind."""

    def left() -> object:
        return web.stored(), web.unfinished(), known_batches()

    before = left()
    yield
    until = time.monotonic() + 15
    while left() != before:
        assert time.monotonic() < until, left()
        time.sleep(0.2)

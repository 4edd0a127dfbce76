from collections.abc import Iterator

import pytest

from tests.services import S3, seaweedfs


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

import os

import pytest

from tests.deployed import deploy


@pytest.fixture(scope="module")
def deployed(prefect: dict[str, str]) -> dict[str, str]:
    """A Prefect server with all of Facecrop on it, whatever the file before has removed there."""
    os.environ["PREFECT_API_URL"] = prefect["PREFECT_API_URL"]
    deploy()
    return prefect

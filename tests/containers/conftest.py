from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator

import pytest

from tests.containers.stack import Stack


def _engine_answers() -> bool:
    if shutil.which("docker") is None:
        return False
    return not subprocess.run(["docker", "info"], capture_output=True).returncode


@pytest.fixture(scope="package")
def stack() -> Iterator[Stack]:
    """The whole compose project, up and healthy; its images are built from these files."""
    if not _engine_answers():
        pytest.skip("no Docker engine answers `docker info`")
    stack = Stack()
    stack.build()
    try:
        try:
            stack.up()
        except RuntimeError as error:
            raise RuntimeError(f"{error}\n{stack.compose('logs', '--tail', '40')}") from None
        yield stack
    finally:
        stack.down()

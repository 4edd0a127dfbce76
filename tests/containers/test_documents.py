"""The samples of the documents that need a container engine, page by page as they stand there."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from infra.docs import pages
from intake.cli.exits import ExitCode
from tests.containers.stack import ROOT, Stack
from tests.docs.blocks import blocks_of

pytestmark = [pytest.mark.container, pytest.mark.slow, pytest.mark.timeout(1800)]

LEAVES: dict[str, Callable[[Stack, Path], bool]] = {
    "docs/start/containers.md": lambda stack, _: stack.members("/data/sample") == [*range(200)],
    "docs/operate/scale.md": lambda stack, _: len(stack.compose("ps", "-q", "worker").split()) == 5,
    "docs/operate/disaster.md": lambda _, folder: "COPY public.flow_run " in dump(folder),
}
"""What has to be so behind a page's samples."""

UNLESS_DONE = f"trap 'code=$?; [ $code = {ExitCode.DONE_WITH_FAILURES:d} ] || exit $code' ERR"
"""Ends a script at what fails, but not at a batch of a sample, one of whose images is damaged."""


def dump(folder: Path) -> str:
    return (folder / "prefect.sql").read_text()


def samples() -> dict[str, str]:
    """The commands of each page that need an engine."""
    found = {}
    for page in map(str, pages()):
        blocks = blocks_of(page, (ROOT / page).read_text())
        if texts := [one.text for one in blocks if one.mark == "container"]:
            found[page] = "".join(texts)
    return found


@pytest.mark.parametrize("page", samples())
def test_samples_do_what_the_page_says(page: str, stack: Stack, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "infra", tmp_path / "infra")  # they write infra/.env
    script = tmp_path / "samples.sh"
    commands = samples()[page].replace(" --build", "")  # it is built
    script.write_text(f"{UNLESS_DONE}\n{commands}")
    here = {
        "COMPOSE_PROJECT_NAME": stack.name,
        "COMPOSE_PROFILES": "seaweedfs",
        "PATH": f"{Path(sys.executable).parent}:{stack.environment['PATH']}",
        "PREFECT_API_URL": f"http://127.0.0.1:{stack.port}/api",
        "PREFECT_API_AUTH_STRING": stack.auth,
    }
    # in a terminal, as whoever reads them is
    command = ["script", "--quiet", "--return", "--command", f"bash {script}", "/dev/null"]
    stack.execute("worker", "rm", "-rf", "/data/sample.zip", "/data/sample")  # other tests' own
    try:
        done = subprocess.run(
            command,
            cwd=tmp_path,
            env=stack.environment | here,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert done.returncode == 0, done.stdout
        assert LEAVES[page](stack, tmp_path), done.stdout
    finally:
        stack.up("--scale", "worker=1")

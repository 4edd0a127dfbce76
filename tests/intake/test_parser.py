"""The grammar names functions: each of them takes what its command gives."""

import inspect
from importlib import import_module
from uuid import UUID

import pytest

from intake.cli.parsers.parse import parse

pytestmark = pytest.mark.slow  # it imports Prefect

BATCH = str(UUID(int=0))


@pytest.mark.parametrize(
    "line",
    [
        "crop a.zip --output out --no-prefect --crop-size 64",
        "submit a.zip --output out --watch",
        *(f"{command} {BATCH} --json" for command in ("cancel", "pause", "resume")),
        f"status {BATCH} --watch",
        f"failed {BATCH} --csv",
        f"retry {BATCH}",
        "find --store out --path a.jpg --json",
        f"find --batch {BATCH}",
        "forget out --path a.jpg --yes",
        "cleanup --older-than 3 --batches --yes",
        "sample a.zip --count 3",
        "doctor --output out",
        "queues --since 3 --all",
        "workers --all",
        "workers --all scale 3",
        "serve --port 0",
        "api-key ann --admin",
    ],
)
def test_a_function_takes_what_its_command_gives(line: str) -> None:
    function, given = parse(line.split())
    module, _, name = function.partition(":")
    inspect.signature(getattr(import_module(f"intake.cli.{module}"), name)).bind(**given)

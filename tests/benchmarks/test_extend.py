"""`python -m benchmarks extend` on a few photographs."""

from pathlib import Path

import pytest

from tests.benchmarks.conftest import Benchmark

pytestmark = pytest.mark.slow


def test_only_what_is_new_is_cropped(labelled: Path, benchmark: Benchmark) -> None:
    given = ("--members", "20", "--new", "3", "--rounds", "1")
    rows = benchmark("extend", labelled, *given)["rows"]
    told = [(row["what"], row["members"], row["cropped"]) for row in rows]
    assert told == [("anew", 20, 20), ("extended", 23, 3), ("nothing new", 23, 0)]

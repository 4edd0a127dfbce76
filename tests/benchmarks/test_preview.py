"""`python -m benchmarks preview` on a few photographs, and on a small archive in a store."""

from pathlib import Path

import pytest

from tests.benchmarks.conftest import Benchmark

pytestmark = [pytest.mark.service, pytest.mark.slow]


def test_intervals_and_what_is_read(labelled: Path, benchmark: Benchmark) -> None:
    sizes = ["--archives", "4", "--seeds", "3", "--count", "40", "--members", "4000"]
    result = benchmark("preview", labelled, *sizes, "--rounds", "1")
    figures = {row["figure"]: row for row in result["held"]}
    assert {"faces", "cropped", "no_face", "skipped", "failed", "CPU"} < figures.keys()
    for row in figures.values():
        assert row["held"] + row["below"] + row["above"] == pytest.approx(1)
        assert 0 <= row["worst"] <= row["held"] <= 1
    [read] = result["store"]
    assert (read["members"], read["sampled"], read["faces"]) == (4000, 40, 1000)
    assert 40 < read["requests"] < 60
    assert 0 < read["megabytes"] < read["gigabytes"] * 1000 / 3

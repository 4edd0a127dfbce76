"""`python -m benchmarks recrop` on photos of which one has a face."""

from pathlib import Path

import pytest

from tests.benchmarks.conftest import Benchmark

pytestmark = pytest.mark.slow


def test_a_recrop_is_beside_cropping_anew(labelled: Path, benchmark: Benchmark) -> None:
    result = benchmark("recrop", labelled, "--rounds", "1", "--images", "4")
    assert (result["images"], result["faces"]) == (4, 2)
    rows = {row["side"]: row for row in result["rows"]}
    assert rows["cropped anew, square"]["times"] == rows["cropped anew, id-35x45"]["times"] == 1
    assert rows["square"]["crops"] == rows["id-35x45"]["crops"] == 2
    assert rows["three ways in one pass"]["crops"] == 6
    assert all(row["cpu_ms"] > 0 for row in rows.values())

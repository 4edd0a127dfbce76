"""`python -m benchmarks blurred` on a photo whose face is known."""

from pathlib import Path

import pytest

from tests.benchmarks.conftest import Benchmark

pytestmark = pytest.mark.slow


def test_the_labelled_face_is_covered_and_each_side_has_its_time(
    labelled: Path, benchmark: Benchmark
) -> None:
    result = benchmark("blurred", labelled, "--rounds", "1")
    rows = {row["side"]: row for row in result["rows"]}
    assert rows["crops"]["times"] == 1.0
    assert rows["crops"]["left"] is None
    for side in ("blur", "pixelate", "mask", "mask, thorough, from score 0.3"):
        assert rows[side]["left"] == 0
        assert rows[side]["times"] == pytest.approx(rows[side]["cpu_ms"] / rows["crops"]["cpu_ms"])
        assert 0.5 < rows[side]["bytes"] < 1.5

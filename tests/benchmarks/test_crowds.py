"""`python -m benchmarks crowds` on a photo whose face is known."""

from pathlib import Path

import pytest

from tests.benchmarks.conftest import Benchmark

pytestmark = pytest.mark.slow


def test_profiles_on_mosaics_heads_and_large_photographs(
    labelled: Path, benchmark: Benchmark
) -> None:
    result = benchmark("crowds", labelled, "--rounds", "1", "--sheets", "1")
    rows = {(row["layout"], row["profile"]): row for row in result["rows"]}
    layouts = {layout for layout, _ in rows}
    assert len(layouts) == 9  # no heads of 150 px, as its face has 110
    for layout in layouts:
        before, balanced = rows[layout, "640"], rows[layout, "balanced"]
        assert before["times"] == 1.0
        assert balanced["times"] == pytest.approx(balanced["image_ms"] / before["image_ms"])
        assert len(balanced["recalls"]) == 4
        assert balanced["recall"] >= before["recall"]
    assert rows["100 heads of 80 px", "balanced"]["faces"] == 100
    assert rows["100 heads of 80 px", "thorough"]["recall"] > 0.9
    assert rows["100 heads of 100 px", "balanced"]["recall"] > 0.8  # all alike, and faint
    few = rows["few faces, 24 MP", "balanced"]
    assert (few["faces"], few["recall"]) == (1, 1.0)

"""`python -m benchmarks crops` and `heads` on photos whose face is known."""

from pathlib import Path

import pytest

from tests.benchmarks.conftest import Benchmark
from tests.pictures import PHOTOS

pytestmark = pytest.mark.slow


def test_every_way_to_cut_is_beside_the_default(labelled: Path, benchmark: Benchmark) -> None:
    result = benchmark("crops", labelled, "--rounds", "2")
    assert (result["photos"], result["crops"]) == (2, 1)
    rows = {row["way"]: row for row in result["rows"]}
    assert rows["the default"]["times"] == 1
    assert rows["id-35x45"]["megapixels"] == pytest.approx(413 * 531 / 1e6)
    assert all(len(row["rounds"]) == 2 and row["crop_ms"] > 0 for row in rows.values())


def test_labelled_heads_are_estimated_within_the_error_that_the_guide_tells(
    benchmark: Benchmark,
) -> None:
    if not PHOTOS.is_dir():
        pytest.skip(f"no labelled photographs in {PHOTOS}")
    result = benchmark("heads", PHOTOS)
    assert (result["labelled"], result["found"]) == (40, 40)
    checked = {row["of"]: row for row in result["rows"] if row["use"] == "check"}
    assert checked["chin"]["median"] < 0.025
    assert checked["crown"]["median"] < 0.08
    assert abs(checked["height"]["bias"]) < 0.05


def test_photos_without_labelled_heads_give_no_rows(labelled: Path, benchmark: Benchmark) -> None:
    assert benchmark("heads", labelled) == {"labelled": 0, "found": 0, "rows": []}

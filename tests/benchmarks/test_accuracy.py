"""`python -m benchmarks accuracy` on photos whose labels are known."""

import csv
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.conftest import Benchmark

pytestmark = pytest.mark.slow

FACE = (180, 68, 88, 110)  # of astronaut.jpg
FAR = (0, 400, 88, 110)


def label(folder: Path, *boxes: tuple[int, ...]) -> None:
    with (folder / "faces.csv").open("w", newline="") as file:
        csv.writer(file).writerows(
            [["photo", *"xywh"], *(["astronaut.jpg", *box] for box in boxes)]
        )


def rows_of(result: dict[str, Any], name: str) -> list[dict[str, Any]]:
    return [row for row in result["rows"] if row["name"] == name]


def test_profiles_sides_and_scores_beside_the_old_algorithm(
    labelled: Path, benchmark: Benchmark
) -> None:
    result = benchmark("accuracy", labelled, "--rounds", "2")
    assert (result["photos"], result["labelled"], result["below_min_face"]) == (2, 1, 0)
    names = [row["name"] for row in result["rows"]]
    assert names == ["old algorithm", "fast", "balanced", "thorough", *["yunet"] * 20, "haar"]
    assert {row["side"] for row in result["rows"]} == {320, 384, 480, 640, 800, 1024}
    for name in ("fast", "balanced", "thorough"):
        (row,) = rows_of(result, name)
        assert (row["found"], row["recall"], row["precision"]) == (1, 1.0, 1.0)
    (old,) = rows_of(result, "old algorithm")
    assert old["times"] == 1.0
    for row in result["rows"]:
        assert 0 < row["detect_ms"] < row["image_ms"]
        assert row["times"] == pytest.approx(old["image_ms"] / row["image_ms"])


def test_a_label_is_matched_once_and_the_best_pair_goes_first(
    labelled: Path, benchmark: Benchmark
) -> None:
    label(labelled, (FACE[0] + 4, *FACE[1:]), FACE, FAR)
    (row,) = rows_of(benchmark("accuracy", labelled, "--rounds", "1"), "balanced")
    assert (row["found"], row["precision"]) == (1, 1.0)
    assert row["recall"] == pytest.approx(1 / 3)


def test_what_overlaps_too_little_is_wrong(labelled: Path, benchmark: Benchmark) -> None:
    label(labelled, FAR)
    (row,) = rows_of(benchmark("accuracy", labelled, "--rounds", "1"), "balanced")
    assert (row["found"], row["recall"], row["precision"]) == (1, 0.0, 0.0)


def test_labels_are_found_in_the_parent_and_may_be_missing(
    labelled: Path, benchmark: Benchmark
) -> None:
    photos = labelled / "photos"
    photos.mkdir()
    (labelled / "astronaut.jpg").rename(photos / "astronaut.jpg")
    assert benchmark("accuracy", photos, "--rounds", "1")["labelled"] == 1
    (labelled / "faces.csv").unlink()
    result = benchmark("accuracy", photos, "--rounds", "1")
    (row,) = rows_of(result, "balanced")
    assert (result["labelled"], row["recall"], row["precision"]) == (None, None, None)

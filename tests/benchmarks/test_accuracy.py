from pathlib import Path

import numpy as np
import pytest

from benchmarks.accuracy import Agreement, agree
from benchmarks.photos import Boxes, read_labels
from tests.benchmarks.conftest import Benchmark


def boxes(*rows: tuple[float, float, float, float]) -> Boxes:
    return np.array(rows, np.float32).reshape(-1, 4)


FACE = (10.0, 10.0, 20.0, 20.0)
FAR = (100.0, 100.0, 20.0, 20.0)


def shifted(by: float) -> tuple[float, float, float, float]:
    return (FACE[0] + by, *FACE[1:])


def test_each_face_found_is_right() -> None:
    assert agree(boxes(FAR, FACE), boxes(FACE, FAR)) == Agreement(labelled=2, found=2, right=2)


@pytest.mark.parametrize(
    ("found", "labelled"),
    [(boxes(), boxes(FACE)), (boxes(FACE), boxes()), (boxes(), boxes()), (boxes(FAR), boxes(FACE))],
)
def test_nothing_right(found: Boxes, labelled: Boxes) -> None:
    assert agree(found, labelled) == Agreement(len(labelled), len(found), 0)


def test_overlap_bound_is_inclusive() -> None:
    half = (10.0, 10.0, 20.0, 10.0)  # IoU with FACE is exactly 0.5
    assert agree(boxes(half), boxes(FACE)).right == 1
    less = (10.0, 10.0, 20.0, 9.5)
    assert agree(boxes(less), boxes(FACE)).right == 0


def test_a_label_is_matched_once() -> None:
    assert agree(boxes(FACE, shifted(1), shifted(2)), boxes(FACE)) == Agreement(1, 3, 1)


def test_best_pair_goes_first() -> None:
    # The first box found overlaps the second label (0.70) more than the first (0.63), but the
    # second box found has more of a claim on it (0.90), and overlaps the first too little (0.38).
    found, labelled = boxes(shifted(4.5), shifted(9)), boxes(shifted(0), shifted(8))
    assert agree(found, labelled).right == 2


def test_recall_and_precision() -> None:
    total = Agreement(labelled=4, found=5, right=3) + Agreement(labelled=1, found=0, right=0)
    assert total == Agreement(labelled=5, found=5, right=3)
    assert total.recall == pytest.approx(0.6)
    assert total.precision == pytest.approx(0.6)


def test_no_recall_without_labels_and_no_precision_without_finds() -> None:
    assert Agreement().recall is None
    assert Agreement().precision is None


@pytest.mark.parametrize("place", ["", ".."])
def test_labels_in_the_folder_or_its_parent(tmp_path: Path, place: str) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    assert read_labels(folder) is None
    (folder / place / "faces.csv").write_text("photo,x,y,w,h\na.jpg,1,2,3,4\na.jpg,5,6,7,8.5\n")
    labels = read_labels(folder)
    assert labels is not None
    assert labels.keys() == {"a.jpg"}
    np.testing.assert_array_equal(labels["a.jpg"], boxes((1, 2, 3, 4), (5, 6, 7, 8.5)))


@pytest.mark.slow
def test_command_prints_one_json_object(labelled: Path, benchmark: Benchmark) -> None:
    result = benchmark("accuracy", labelled, "--rounds", "2")
    assert (result["photos"], result["unreadable"], result["labelled"]) == (2, 0, 1)
    assert result["below_min_face"] == 0
    assert [row["name"] for row in result["rows"]] == [
        *("fast", "balanced", "thorough"), *["yunet"] * 20, "haar",
    ]  # fmt: skip
    assert {row["side"] for row in result["rows"]} == {320, 384, 480, 640, 800, 1024}
    balanced = result["rows"][1]
    assert (balanced["found"], balanced["recall"], balanced["precision"]) == (1, 1.0, 1.0)
    assert all(0 < row["detect_ms"] < row["image_ms"] for row in result["rows"])
    assert any(row["edge"] for row in result["rows"][:-1])
    assert not result["rows"][-1]["edge"]  # nothing is as slow


@pytest.mark.slow
def test_the_old_algorithm_works_on_the_same_photos(labelled: Path, benchmark: Benchmark) -> None:
    result = benchmark("classic", labelled, "--rounds", "2")
    assert (result["photos"], result["labelled"]) == (2, 1)
    classic, *profiles = result["sides"]
    assert [side["name"] for side in profiles] == ["fast", "balanced", "thorough"]
    assert (classic["name"], classic["times"]) == ("classic", 1.0)
    assert all(len(side["rounds"]) == 2 for side in result["sides"])
    for side in profiles:
        assert (side["faces"], side["recall"], side["precision"]) == (1, 1.0, 1.0)
        assert side["times"] == pytest.approx(classic["cpu_ms"] / side["cpu_ms"])

"""What others do with the same photographs, as the benchmark has them do it."""

from pathlib import Path

import pytest

from tests.benchmarks.conftest import Benchmark


@pytest.mark.slow
def test_peers_crop_the_same_photos(labelled: Path, benchmark: Benchmark) -> None:
    others = ["autocrop-command", "autocrop-pool", "opencv-pool", "prefect-task-an-image"]
    result = benchmark("peers", labelled, "--images", "4", "--rounds", "1", "--only", *others)
    assert (result["images"], result["rounds"]) == (4, 1)
    assert [peer["name"] for peer in result["peers"]] == ["facecrop", *others]
    for peer in result["peers"]:
        assert peer["faces"] == 2, peer["name"]
        assert len(peer["seconds"]) == 1
        assert peer["images_per_second"] == pytest.approx(4 / peer["seconds"][0])

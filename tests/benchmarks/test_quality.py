"""`python -m benchmarks quality` on a photo whose face is known."""

from pathlib import Path

import cv2
import pytest

from tests.benchmarks.conftest import Benchmark

pytestmark = pytest.mark.slow


def test_sharpness_under_blur_and_scale(labelled: Path, benchmark: Benchmark) -> None:
    photo = cv2.imread(str(labelled / "astronaut.jpg"))
    assert photo is not None
    assert cv2.imwrite(str(labelled / "large.jpg"), cv2.resize(photo, (1500, 1500)))
    result = benchmark("quality", labelled, "--rounds", "1")
    rows = {row["name"]: row for row in result["rows"]}
    assert result["faces"] == 1
    assert rows["as they are"]["factor"] == rows["as they are"]["before"] == 1
    assert rows["blurred by 1 px"]["median"] < rows["as they are"]["median"]
    assert result["times"] == pytest.approx(result["image_ms"] / result["image_ms_without"])

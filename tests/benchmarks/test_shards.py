import pytest

from benchmarks.overhead import SHARE, Cost, least_images
from benchmarks.shards import Part, steady

PARTS = [Part(float(second), second + 1.0, 10) for second in range(10)]


def test_steady_counts_what_is_done_within() -> None:
    assert steady(PARTS, [(2.0, 6.0)]) == (4.0, 40.0)


def test_steady_counts_a_part_in_part() -> None:
    assert steady(PARTS, [(2.5, 3.25)]) == (0.75, 7.5)


def test_steady_joins_windows_and_leaves_empty_ones_out() -> None:
    assert steady(PARTS, [(0.5, 2.5), (6.0, 5.0), (8.0, 9.0)]) == (3.0, 30.0)


def test_steady_counts_the_work_of_two_at_once() -> None:
    assert steady([*PARTS, Part(4.0, 8.0, 40)], [(4.0, 6.0)]) == (2.0, 40.0)


def test_steady_without_any_time_says_what_to_do() -> None:
    with pytest.raises(RuntimeError, match="take more --images"):
        steady(PARTS, [(6.0, 5.0)])


def test_costs_are_taken_off_and_divided() -> None:
    many, few = Cost(30.0, 6.0, 0.5), Cost(10.0, 2.0, 0.1)
    each = (many - few) * (1 / 4)
    assert (each.worker, each.server, each.submit) == pytest.approx((5.0, 1.0, 0.1))
    assert each.total == pytest.approx(6.1)


def test_the_overhead_is_the_share_of_what_so_many_images_cost() -> None:
    images = least_images(6.0, 0.02)
    assert images == 10_000
    assert 6.0 / (images * 0.02) == pytest.approx(SHARE)

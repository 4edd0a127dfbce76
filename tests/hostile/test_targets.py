"""What fuzzing begins with is taken by every target, so that a finding is one of fuzzing."""

import warnings

import pytest

from tests.hostile.fuzz import TARGETS, seeds
from tests.hostile.targets import TARGETS as BY_NAME


def test_each_target_can_be_asked_for() -> None:
    assert set(BY_NAME) == set(TARGETS)


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_a_target_takes_what_it_begins_with(target: str) -> None:
    taken = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, of damaged pictures
        for seed in seeds(target):
            BY_NAME[target](seed)
            taken += 1
    assert taken > 1

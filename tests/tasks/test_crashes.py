"""When a batch that crashed goes on, and when it does not."""

import pytest
from prefect.client.schemas.objects import State
from prefect.states import (
    AwaitingRetry,
    Cancelled,
    Cancelling,
    Crashed,
    Failed,
    Pending,
    Running,
    Scheduled,
)

from tasks.lifecycle.crashes import CrashedError, judge

START: list[State] = [Scheduled(), Pending(), Running()]
UNSTARTED: list[State] = [Scheduled(), Pending(), Crashed()]
CRASH: list[State] = [Crashed(), AwaitingRetry(), Pending(), Running()]


@pytest.mark.parametrize(
    "states",
    [
        START,
        [*START, *CRASH],
        [*START, *CRASH, *CRASH],
        [*START, AwaitingRetry(), Pending(), Running(), AwaitingRetry(), Pending(), Running()],
        [*START, *CRASH, *CRASH, *CRASH[:1], Failed(), *START],  # somebody has it run again
        [*START, Cancelling(), Cancelled(), *START, *CRASH],
        [*START, Cancelling(), *CRASH, Failed(), *START, *CRASH],
        [*3 * UNSTARTED, *START],
        [*2 * UNSTARTED, *START, *CRASH, *2 * UNSTARTED, *START, *CRASH],
    ],
)
def test_a_batch_goes_on(states: list[State]) -> None:
    judge(states, outlived=0)


def test_crashes_are_counted_while_it_ran() -> None:
    assert judge([*UNSTARTED, *START, *CRASH, *UNSTARTED, *START, *CRASH], outlived=0) == 2


@pytest.mark.parametrize(
    ("states", "outlived", "goes_on"),
    [
        ([*START, *5 * CRASH], 3, True),
        ([*START, *5 * CRASH], 2, False),
        ([*START, *2 * CRASH, Failed(), *START, *2 * CRASH], 1, True),
        ([*START, *2 * CRASH, Failed(), *START, *3 * CRASH], 1, False),
        ([*START, *2 * CRASH, Failed(), *START, *3 * CRASH], 3, True),
    ],
)
def test_crashes_after_which_it_got_on_do_not_count(
    states: list[State], outlived: int, goes_on: bool
) -> None:
    if goes_on:
        judge(states, outlived)
    else:
        with pytest.raises(CrashedError, match="died 3 times and got nothing done"):
            judge(states, outlived)


@pytest.mark.parametrize(
    ("states", "told"),
    [
        ([*START, *CRASH, *CRASH, *CRASH], "died 3 times"),
        ([*START, *CRASH, *START, *CRASH, *CRASH], "died 3 times"),
        ([*START, Cancelling(), *CRASH], "while it was being cancelled"),
        ([*START, *CRASH, Cancelling(), *UNSTARTED[2:], *START], "while it was being cancelled"),
        ([Scheduled(), Pending(), Cancelling(), *CRASH], "while it was being cancelled"),
    ],
)
def test_a_batch_does_not_go_on(states: list[State], told: str) -> None:
    with pytest.raises(CrashedError, match=told):
        judge(states, outlived=0)

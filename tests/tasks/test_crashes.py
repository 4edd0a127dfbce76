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

from tasks.crashes import CrashedError, judge

START: list[State] = [Scheduled(), Pending(), Running()]
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
    ],
)
def test_a_batch_goes_on(states: list[State]) -> None:
    judge(states)


@pytest.mark.parametrize(
    ("states", "told"),
    [
        ([*START, *CRASH, *CRASH, *CRASH], "died 3 times"),
        ([*START, *CRASH, *START, *CRASH, *CRASH], "died 3 times"),
        ([*START, Cancelling(), *CRASH], "while it was being cancelled"),
    ],
)
def test_a_batch_does_not_go_on(states: list[State], told: str) -> None:
    with pytest.raises(CrashedError, match=told):
        judge(states)

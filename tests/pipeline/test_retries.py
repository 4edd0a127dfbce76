"""One policy of retries, with and without Prefect."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event

import pytest

from pipeline import retries
from pipeline.retries import ATTEMPTS, retried
from storage.errors import OutputError, TransientError


@pytest.fixture(autouse=True)
def no_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "FIRST_DELAY_SECONDS", 0.001)


def failing(times: int, error: Exception) -> tuple[list[bool], Callable[[bool], str]]:
    told: list[bool] = []

    def work(last: bool) -> str:
        told.append(last)
        if len(told) <= times:
            raise error
        return "done"

    return told, work


def test_transient_errors_are_tried_again_and_the_last_attempt_knows_it() -> None:
    told, work = failing(ATTEMPTS - 1, TransientError("busy"))
    assert retried(work) == "done"
    assert told == [False] * (ATTEMPTS - 1) + [True]


def test_the_last_attempt_raises() -> None:
    told, work = failing(ATTEMPTS, TransientError("busy"))
    with pytest.raises(TransientError, match="busy"):
        retried(work)
    assert len(told) == ATTEMPTS


def test_other_errors_are_not_tried_again() -> None:
    told, work = failing(1, OutputError("another batch's"))
    with pytest.raises(OutputError):
        retried(work)
    assert told == [False]


def test_no_attempt_follows_once_all_is_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "FIRST_DELAY_SECONDS", 3600)
    stop = Event()
    stop.set()
    told, work = failing(1, TransientError("busy"))
    with pytest.raises(TransientError):
        retried(work, stop=stop)
    assert told == [False]

import asyncio
import resource
import sys
import time
from collections import Counter

import pytest

from intake.http.cache import Recent
from intake.http.connections import most_connections
from intake.http.limits import Slots, TokenBucket
from intake.http.problems import ProblemError


def test_a_bucket_gives_what_was_agreed_and_says_when_there_is_more() -> None:
    bucket = TokenBucket(20)
    given = [bucket.take("ann") for _ in range(25)]
    assert given[:20] == [0] * 20
    assert 0 < given[-1] <= 0.05
    assert bucket.take("bob") == 0
    time.sleep(given[-1] + 0.01)
    assert bucket.take("ann") == 0


def test_slots_are_given_back() -> None:
    slots = Slots(1)
    with slots.one(), pytest.raises(ProblemError), slots.one():
        pass
    with pytest.raises(ValueError, match="x"), slots.one():
        raise ValueError("x")
    with slots.one():
        assert slots.taken == 1


def test_many_who_ask_at_once_cost_one_look() -> None:
    looks = Counter[str]()

    def look(key: str) -> int:
        looks[key] += 1
        time.sleep(0.05)
        if key == "bad":
            raise LookupError(key)
        return looks[key]

    async def ask() -> None:
        recent = Recent(look, 0.2)
        assert await asyncio.gather(*(recent.get("a") for _ in range(100))) == [1] * 100
        impatient = asyncio.ensure_future(recent.get("b"))
        await asyncio.sleep(0.01)
        impatient.cancel()
        assert await recent.get("b") == 1  # the one who went away has not ended it
        for _ in range(2):
            with pytest.raises(LookupError):
                await recent.get("bad")
        await asyncio.sleep(0.25)
        assert await recent.get("a") == 2
        recent.forget("a")
        assert await recent.get("a") == 3

    asyncio.run(ask())
    assert looks == {"a": 3, "b": 1, "bad": 1}


@pytest.mark.parametrize(
    ("soft", "hard", "refused", "most", "asked"),
    [
        (1024, 4096, False, 3840, [4096]),
        (1024, 1 << 20, False, 5000, [1 << 20]),
        (256, resource.RLIM_INFINITY, False, 5000, [5256]),  # macOS
        (1024, resource.RLIM_INFINITY, True, 768, [5256]),  # macOS, whose own bound is lower
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, False, 5000, []),
    ],
)
def test_connections_are_as_many_as_files_may_be_open(
    soft: int,
    hard: int,
    refused: bool,
    most: int,
    asked: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: list[int] = []

    def setrlimit(_: int, limits: tuple[int, int]) -> None:
        said.append(limits[0])
        if refused:
            raise ValueError("current limit exceeds maximum limit")

    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", setrlimit)
    assert most_connections(5000) == most
    assert said == asked


def test_windows_bounds_no_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    assert most_connections(5000) == 5000

import asyncio
import time
from collections import Counter

import pytest

from intake.http.cache import Recent
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

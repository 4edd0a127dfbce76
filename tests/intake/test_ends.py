"""Requests that wait for the ends of batches, asked for together."""

import asyncio
import threading
from uuid import UUID, uuid4

import httpx

from intake.control.filters import PAGE
from intake.http.ends import Ends


class Server:
    """What there is to ask; it notes every question."""

    def __init__(self) -> None:
        self.ended: set[UUID] = set()
        self.asked: list[set[UUID]] = []
        self.refusals = 0
        self._one = threading.Lock()

    def __call__(self, some: set[UUID]) -> set[UUID]:
        assert self._one.acquire(blocking=False), "two questions at a time"
        try:
            self.asked.append(some)
            if self.refusals:
                self.refusals -= 1
                raise httpx.ConnectError("nobody")
            return some & self.ended
        finally:
            self._one.release()


def test_all_that_wait_are_asked_for_together_a_page_at_a_time() -> None:
    async def waiting() -> None:
        server, batches = Server(), [uuid4() for _ in range(3 * PAGE)]
        server.ended = set(batches)
        ends = Ends(server, lambda: False, most=len(batches))
        await asyncio.gather(*map(ends.wait, batches))
        assert [len(some) for some in server.asked] == [PAGE] * 3
        assert set[UUID]().union(*server.asked) == server.ended

    asyncio.run(waiting())


def test_each_goes_on_when_its_own_batch_has_ended() -> None:
    async def waiting() -> None:
        server, (first, second) = Server(), (uuid4(), uuid4())
        ends = Ends(server, lambda: False, most=2)
        tasks = [asyncio.create_task(ends.wait(batch)) for batch in (first, second)]
        while len(server.asked) < 3:
            await asyncio.sleep(0.01)
        assert {first, second} in server.asked
        server.ended = {second}
        await tasks[1]
        there = len(server.asked)
        while len(server.asked) < there + 2:
            await asyncio.sleep(0.01)
        assert server.asked[-1] == {first}
        assert not tasks[0].done()
        server.ended.add(first)
        await tasks[0]

    asyncio.run(waiting())


def test_a_server_that_does_not_answer_is_asked_again() -> None:
    async def waiting() -> None:
        server, batch = Server(), uuid4()
        server.ended, server.refusals = {batch}, 2
        await Ends(server, lambda: False, most=1).wait(batch)
        assert len(server.asked) == 3

    asyncio.run(waiting())


def test_nothing_is_asked_once_nobody_waits() -> None:
    async def waiting() -> None:
        server = Server()
        ends = Ends(server, lambda: False, most=1)
        task = asyncio.create_task(ends.wait(uuid4()))
        while not server.asked:
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait([task])
        left = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.wait_for(asyncio.gather(*left), 10)  # the watch ends by itself

    asyncio.run(waiting())


def test_who_is_one_too_many_does_not_wait() -> None:
    async def waiting() -> None:
        server, batch = Server(), uuid4()
        ends = Ends(server, lambda: False, most=1)
        first = asyncio.create_task(ends.wait(batch))
        await asyncio.sleep(0)
        await ends.wait(uuid4())
        assert not first.done()
        server.ended = {batch}
        await first

    asyncio.run(waiting())


def test_nobody_waits_any_more_once_the_service_stops() -> None:
    async def waiting() -> None:
        stopping = asyncio.Event()
        ends = Ends(Server(), stopping.is_set, most=2)
        tasks = [asyncio.create_task(ends.wait(uuid4())) for _ in range(2)]
        await asyncio.sleep(0)
        stopping.set()
        await asyncio.gather(*tasks)

    asyncio.run(waiting())

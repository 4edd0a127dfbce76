"""How a worker asks for work."""

import asyncio
from pathlib import Path
from uuid import uuid4

import pytest

from deployments.worker import FacecropWorker
from tests.workers import submit

pytestmark = [pytest.mark.service, pytest.mark.slow]


@pytest.fixture
def queued(deployed: dict[str, str], tmp_path: Path) -> int:
    """How many batches wait for a worker, at least."""
    for number in range(4):
        submit(str(tmp_path / "photos.zip"), str(tmp_path / str(number)), {})
    return 4


def poll(limit: int | None, taken: int = 0, pool: str = "facecrop-process") -> int:
    """How many runs a worker is given that has so many slots, and so many of them taken."""

    async def ask() -> int:
        async with FacecropWorker(pool, limit=limit, create_pool_if_not_found=False) as worker:
            for _ in range(taken):
                worker.limiter.acquire_on_behalf_of_nowait(uuid4())
            return len(await worker._get_scheduled_flow_runs())

    return asyncio.run(ask())


@pytest.mark.parametrize(("taken", "read"), [(0, 2), (1, 1), (2, 0)])
def test_a_worker_reads_as_many_runs_as_it_has_free_slots(
    queued: int, taken: int, read: int
) -> None:
    assert poll(2, taken) == read


def test_a_worker_without_a_limit_reads_all(queued: int) -> None:
    assert poll(None) >= queued


def test_a_pool_that_is_not_there_yet_has_no_runs(deployed: dict[str, str]) -> None:
    assert poll(1, pool="nowhere") == 0

"""A batch whose machines, Redis and database are lost in the middle ends as if nothing had been."""

import asyncio
from pathlib import Path
from typing import Any

import fsspec
import pytest
from redis.asyncio import Redis

from infra.servers.stack import redis_alone
from pipeline.local import crop
from pipeline.settings import CropSettings
from tests.flows.batches import result
from tests.services import S3, slow_sample
from tests.workers import (
    kill,
    look,
    production,
    shards_of,
    state,
    states,
    submit,
    taken_by,
    wait,
    wait_for_end,
)

pytestmark = pytest.mark.service

MEMBERS = 240
SETTINGS: dict[str, Any] = {"chunk": {"members": 4}, "run": {"shard_members": 24, "threads": 1}}


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_worker_redis_and_postgresql_are_lost_in_the_middle(
    s3: S3, deployed_rows: Path, tmp_path: Path
) -> None:
    output = f"s3://{s3.bucket}/restarts/out"
    files = fsspec.filesystem("s3", use_listings_cache=False)
    (tmp_path / "slow").mkdir()

    def parts() -> int:
        return len(files.glob(f"{output}/parts/*"))

    with (
        slow_sample(tmp_path / "slow", MEMBERS, 0.8) as slow,
        production(deployed_rows, tmp_path) as (stack, start_worker),
    ):
        workers = {name: start_worker(name) for name in ("one", "other")}
        run = submit(slow.url, output, SETTINGS)
        wait(lambda: any(shard.state_name == "Running" for shard in shards_of(run.id)))
        wait(lambda: parts() >= 10)
        kill(workers[taken_by(look(run.id))])  # it has the run that planned the batch, too
        before = parts()
        wait(lambda: parts() > before)
        stack.redis.restart()
        before = parts()
        wait(lambda: parts() > before)
        stack.postgres.restart()
        assert not files.exists(f"{output}/manifest.parquet"), "too late to show anything"
        slow.hurry()
        wait_for_end(run.id, 900)
        assert state(run.id).is_completed(), state(run.id)
        assert states(run.id).count("Crashed") == 1
        assert {shard.state_name for shard in shards_of(run.id)} <= {"Completed", "Cancelled"}
        assert len(shards_of(run.id)) >= 8

    undisturbed = tmp_path / "undisturbed"
    chunks = CropSettings.model_validate({"chunk": SETTINGS["chunk"]})
    crop(str(slow.sample), str(undisturbed), chunks)
    left, expected = result(output), result(str(undisturbed))
    assert [row["member"] for row in left.manifest] == [*range(MEMBERS)]
    assert left == expected


def test_a_connection_that_redis_has_closed_is_not_used_again() -> None:
    """Or a Prefect server loses what it was doing at the time: redis 8.1.0 does."""

    async def closed_and_used(url: str) -> bool:
        async with Redis.from_url(url) as client, Redis.from_url(url) as other:
            number = await client.client_id()
            await other.client_kill_filter(_id=str(number))
            while str(number) in {one["id"] for one in await other.client_list()}:
                await asyncio.sleep(0.05)
            await asyncio.sleep(0.05)  # the client is told by its event loop
            return bool(await client.ping())

    with redis_alone() as url:
        assert asyncio.run(closed_and_used(url))

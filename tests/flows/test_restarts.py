"""A batch whose machines, Redis and database are lost in the middle ends as if nothing had been."""

from pathlib import Path
from typing import Any

import fsspec
import pytest

from flows.crop_archive import crop_archive
from intake.samples import write_sample
from tasks.settings import CropSettings
from tests.flows.batches import result
from tests.services import S3
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

MEMBERS = 2_000
SETTINGS: dict[str, Any] = {"chunk": {"members": 20}, "run": {"shard_members": 200, "threads": 1}}


@pytest.mark.service
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_worker_redis_and_postgresql_are_lost_in_the_middle(s3: S3, tmp_path: Path) -> None:
    write_sample(tmp_path / "sample.zip", MEMBERS)
    archive, output = f"s3://{s3.bucket}/restarts/sample.zip", f"s3://{s3.bucket}/restarts/out"
    files = fsspec.filesystem("s3", use_listings_cache=False)
    files.put_file(str(tmp_path / "sample.zip"), archive)

    def parts() -> int:
        return len(files.glob(f"{output}/parts/*"))

    with production(tmp_path) as (stack, start_worker):
        workers = {name: start_worker(name) for name in ("one", "other")}
        run = submit(archive, output, SETTINGS)
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

        wait_for_end(run.id, 500)
        assert state(run.id).is_completed(), state(run.id)
        assert states(run.id).count("Crashed") == 1
        assert {shard.state_name for shard in shards_of(run.id)} <= {"Completed", "Cancelled"}
        assert len(shards_of(run.id)) >= 8

        undisturbed = tmp_path / "undisturbed"
        crop_archive(
            str(tmp_path / "sample.zip"), str(undisturbed), CropSettings.model_validate(SETTINGS)
        )
    left, expected = result(output), result(str(undisturbed))
    assert [row["member"] for row in left.manifest] == [*range(MEMBERS)]
    assert left == expected

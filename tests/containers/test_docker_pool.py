"""Batches of which every run is a container of its own, on a real Docker engine."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from tests.containers.stack import Stack, assert_bare

pytestmark = [pytest.mark.container, pytest.mark.slow, pytest.mark.timeout(1800)]

MEMBERS = 600
ARCHIVE = "s3://photos/containers.zip"


@dataclass(frozen=True)
class Batch:
    """A batch on the Docker pool: its output, and the containers that it took, by their ids."""

    output: str
    containers: dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def batch(stack: Stack) -> Iterator[Batch]:
    """Done, with the pool's worker still running."""
    docker = ("--profile", "docker")
    batch = Batch("s3://photos/containers", {})
    try:
        stack.compose(*docker, "up", "--detach", "--no-build", "--wait")
        stack.sample(ARCHIVE, MEMBERS)
        with ThreadPoolExecutor(1) as user:
            # one thread, so that a fast machine has not done it all before a second container runs
            settings = {"shard_members": 150, "threads": 1}
            done = user.submit(stack.crop, "docker", ARCHIVE, batch.output, **settings)
            while not done.done():
                batch.containers.update({one["Id"]: one for one in stack.runs()})
                time.sleep(0.5)
        done.result()
        yield batch
    finally:
        stack.compose(*docker, "rm", "--stop", "--force", "docker-worker")
        stack.remove_runs()


def test_every_member_is_there_once(stack: Stack, batch: Batch) -> None:
    assert stack.members(batch.output) == [*range(MEMBERS)]


def test_containers_share_the_batch(stack: Stack, batch: Batch) -> None:
    assert stack.shards("docker", ARCHIVE)


def test_its_containers_are_bare(batch: Batch) -> None:
    assert len(batch.containers) > 1
    for container in batch.containers.values():
        assert_bare(container)


def test_the_crops_are_those_of_the_process_pool(stack: Stack, batch: Batch) -> None:
    output = "s3://photos/processes"
    stack.crop("process", ARCHIVE, output, shard_members=150)
    crops = _crops(stack, output)
    assert len(crops) > MEMBERS
    assert _crops(stack, batch.output) == crops


def _crops(stack: Stack, output: str) -> Any:
    """A digest of every crop, by its path below the output."""
    digests = f"""
import hashlib, json, s3fs
store = s3fs.S3FileSystem()
crops = store.cat(store.find("{output}/crops"))
print(json.dumps({{
    path.partition("/crops/")[2]: hashlib.sha256(data).hexdigest() for path, data in crops.items()
}}))
"""
    return json.loads(stack.execute("worker", "python", "-c", digests))


def test_the_store_asks_for_keys(stack: Stack, batch: Batch) -> None:
    without = ("env", "--unset", "AWS_ACCESS_KEY_ID", "--unset", "AWS_SECRET_ACCESS_KEY")
    look = f"import s3fs; s3fs.S3FileSystem().ls('{batch.output}')"
    stack.execute("worker", "python", "-c", look)
    with pytest.raises(RuntimeError, match=r"AccessDenied|credentials|Forbidden"):
        stack.execute("worker", *without, "python", "-c", look)


def test_keys_are_nowhere_to_be_read(stack: Stack, batch: Batch) -> None:
    keys = [stack.environment[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")]
    block = "facecrop-aws-secret-access-key"
    dump = "PGPASSWORD=$POSTGRES_PASSWORD exec pg_dump -h 127.0.0.1 -U prefect prefect"
    logs = ("--profile", "docker", "logs", "--no-color")
    # each with something that is to be found there
    places = {
        "pool": (stack.api("/api/work_pools/facecrop-docker"), f"prefect.blocks.secret.{block}"),
        "deployments": (stack.api("/api/deployments/filter", {}), "flows.crop_shard.crop_shard"),
        "flow runs": (stack.api("/api/flow_runs/filter", {}), ARCHIVE),
        "block": (
            stack.api(f"/api/block_types/slug/secret/block_documents/name/{block}"),
            "****",
        ),
        "database": (stack.execute("postgres", "sh", "-c", dump), block),
        "server": (stack.compose(*logs, "server", "services"), "Starting services"),
        "worker": (stack.compose(*logs, "docker-worker"), "Creating Docker container"),
    }
    for place, (content, mark) in places.items():
        text = content if isinstance(content, str) else json.dumps(content)
        assert mark in text, place
        assert not [key for key in keys if key in text], place


def test_nothing_goes_wrong_unseen(stack: Stack, batch: Batch) -> None:
    trouble = stack.trouble("docker-worker")
    assert not trouble, trouble

"""The image and the compose project on a real Docker engine: `bash infra/test.sh --containers`."""

from __future__ import annotations

import time
import urllib.error
from typing import Any

import pytest

from tests.containers.stack import Stack, assert_bare

pytestmark = [pytest.mark.container, pytest.mark.slow, pytest.mark.timeout(1800)]

LASTING = {"postgres", "redis", "server", "services", "worker", "seaweedfs"}
OURS = {"server", "services", "worker"}
MEMBERS = 2_000


def _service(container: dict[str, Any]) -> str:
    return str(container["Config"]["Labels"]["com.docker.compose.service"])


def test_every_service_is_healthy(stack: Stack) -> None:
    states = {_service(one): one["State"] for one in stack.containers()}
    deployed = states.pop("deploy")
    assert (deployed["Status"], deployed["ExitCode"]) == ("exited", 0)
    assert states.keys() == LASTING
    assert {state["Health"]["Status"] for state in states.values()} == {"healthy"}


def test_no_container_has_privileges(stack: Stack) -> None:
    for container in stack.containers():
        assert_bare(container)
    for service in OURS:
        assert stack.execute(service, "id", "--user").strip() == "10001"
        with pytest.raises(RuntimeError, match="Read-only file system"):
            stack.execute(service, "touch", "/app/new")


def test_the_image_has_what_runs_and_nothing_that_builds(stack: Stack) -> None:
    assert stack.execute("worker", "facecrop", "--version").startswith("facecrop ")
    assert stack.execute("worker", "prefect", "version", "--omit-integrations")
    for kind in ("docker", "kubernetes", "redis"):
        stack.execute("worker", "python", "-c", f"import prefect_{kind}")
    there = "for name in gcc make git pip uv hatchling; do command -v $name || true; done"
    assert stack.execute("worker", "sh", "-c", there) == ""
    not_compiled = """
from pathlib import Path
for source in Path("/app").rglob("*.py"):
    if not (source.parent / "__pycache__" / f"{source.stem}.cpython-311.pyc").exists():
        print(source)
"""
    assert stack.execute("worker", "python", "-c", not_compiled) == ""
    assert stack.execute("worker", "sh", "-c", "ls /app | grep -e tests -e infra || true") == ""


def test_prefect_asks_for_the_password(stack: Stack) -> None:
    assert stack.api("/api/ready", auth=None) == {"message": "OK"}
    assert stack.api("/api/admin/version") == "3.9.1"
    for wrong in (None, "facecrop:wrong"):
        with pytest.raises(urllib.error.HTTPError) as refused:
            stack.api("/api/admin/version", auth=wrong)
        assert refused.value.code == 401
    settings = stack.api("/ui-settings", auth=None)
    assert settings["auth"] == "BASIC"
    assert settings["api_url"] == f"http://127.0.0.1:{stack.port}/api"


def test_redis_holds_what_prefect_queues(stack: Stack) -> None:
    def keys(database: int, pattern: str) -> list[str]:
        redis = ["redis-cli", "-n", str(database), "--scan", "--pattern", pattern]
        return stack.execute("redis", *redis).split()

    assert stack.execute("redis", "redis-cli", "type", "events").strip() == "stream"
    groups = stack.execute("redis", "redis-cli", "xinfo", "groups", "events")
    for consumer in ("event-persister", "reactive-triggers", "task-run-recorder"):
        assert consumer in groups
    assert keys(0, "message:messaging-cache:*")
    assert stack.execute("redis", "redis-cli", "-n", "1", "type", "prefect:stream").strip()
    assert keys(1, "prefect:runs:monitor_late_runs")


def test_postgres_holds_prefects_tables(stack: Stack) -> None:
    count = "select count(*) from deployment"
    psql = 'PGPASSWORD=$POSTGRES_PASSWORD exec psql -h 127.0.0.1 -U prefect -d prefect -tAc "$0"'
    deployments = stack.api("/api/deployments/count", {})
    assert int(stack.execute("postgres", "sh", "-c", psql, count)) == deployments > 0


def test_workers_do_not_reach_the_stores(stack: Stack) -> None:
    for store in ("postgres", "redis"):
        with pytest.raises(RuntimeError, match="exited with 2"):
            stack.execute("worker", "getent", "hosts", store)


def test_secrets_have_to_be_set(stack: Stack) -> None:
    kept = stack.environment.pop("FACECROP_AUTH")
    try:
        with pytest.raises(RuntimeError, match=r"FACECROP_AUTH.*infra/env\.example"):
            stack.compose("config")
    finally:
        stack.environment["FACECROP_AUTH"] = kept


@pytest.mark.parametrize("where", ["/data", "s3://photos"])
def test_scaled_workers_share_a_batch(stack: Stack, where: str) -> None:
    stack.up("--scale", "worker=2")
    pool = "/api/work_pools/facecrop-process/workers/filter"
    until = time.monotonic() + 60
    while (online := [one["status"] for one in stack.api(pool, {})]).count("ONLINE") != 2:
        assert time.monotonic() < until, online
        time.sleep(1)

    archive, output = f"{where}/sample.zip", f"{where}/crops"
    stack.sample(archive, MEMBERS)
    # one thread, so that a fast machine has not done it all before the second worker's run starts
    stack.crop("process", archive, output, shard_members=200, threads=1)

    assert stack.members(output) == [*range(MEMBERS)]
    assert stack.shards("process", archive)  # the second worker had its share


def test_nothing_goes_wrong_unseen(stack: Stack) -> None:
    trouble = stack.trouble("server", "services", "worker")
    assert not trouble, trouble

"""The image and the compose project on a real Docker engine: `bash infra/test.sh --containers`."""

from __future__ import annotations

import base64
import json
import os
import secrets
import shlex
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.container, pytest.mark.slow, pytest.mark.timeout(1800)]

ROOT = Path(__file__).resolve().parents[2]
LASTING = {"postgres", "redis", "server", "services", "worker", "seaweedfs"}
OURS = {"server", "services", "worker"}
MEMBERS = 600


class Stack:
    """A compose project of its own name, ports and images."""

    def __init__(self) -> None:
        self.name = f"facecrop-test-{os.getpid()}"
        self.port, s3_port = _free_ports(2)
        self.auth = f"facecrop:{secrets.token_hex(24)}"
        self.images = {"facecrop": self.name, "seaweedfs": f"{self.name}-seaweedfs"}
        foreign = ("PREFECT_", "FACECROP_", "AWS_", "COMPOSE_")
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(foreign)},
            "FACECROP_AUTH": self.auth,
            "FACECROP_DB_PASSWORD": secrets.token_hex(24),
            "FACECROP_PORT": str(self.port),
            "FACECROP_S3_PORT": str(s3_port),
            "FACECROP_IMAGE": self.images["facecrop"],
            "FACECROP_SEAWEEDFS_IMAGE": self.images["seaweedfs"],
            "AWS_ENDPOINT_URL": "http://seaweedfs:8333",
            "AWS_ACCESS_KEY_ID": secrets.token_hex(12),
            "AWS_SECRET_ACCESS_KEY": secrets.token_hex(24),
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def build(self) -> None:
        """Builds the images; FACECROP_BUILD_ARGS may have what this machine needs for that."""
        extra = shlex.split(os.environ.get("FACECROP_BUILD_ARGS", ""))
        for target, image in self.images.items():
            command = ["docker", "build", "--file", "infra/Dockerfile", "--target", target, *extra]
            self._run([*command, "--tag", image, "."], DOCKER_BUILDKIT="1")

    def up(self, *options: str) -> None:
        """Brings it up, and waits until all of it is healthy."""
        self.compose("up", "--detach", "--no-build", "--wait", *options)

    def down(self) -> None:
        """Removes all that there is of it."""
        self.compose("down", "--volumes", "--remove-orphans")
        self._run(["docker", "image", "rm", *self.images.values()])

    def compose(self, *arguments: str) -> str:
        """Runs `docker compose`, and gives what it prints."""
        # --env-file, as the developer's own infra/.env is none of the test's business
        project = ["--project-name", self.name, "--env-file", os.devnull, "--profile", "seaweedfs"]
        return self._run(["docker", "compose", *project, "-f", "infra/compose.yaml", *arguments])

    def execute(self, service: str, *command: str) -> str:
        """Runs a command in a service's first container."""
        return self.compose("exec", "-T", service, *command)

    def containers(self) -> list[dict[str, Any]]:
        """What the engine says of each, the one-shot included."""
        ids = self.compose("ps", "--all", "--quiet").split()
        found: list[dict[str, Any]] = json.loads(self._run(["docker", "inspect", *ids]))
        return found

    def api(self, path: str, body: object = None, *, auth: str | None = "") -> Any:
        """Asks Prefect's API as a user with the password, unless told otherwise."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}")
        request.add_header("Content-Type", "application/json")
        if auth is not None:
            token = base64.b64encode((auth or self.auth).encode()).decode()
            request.add_header("Authorization", f"Basic {token}")
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(request, data, timeout=30) as answer:
            return json.load(answer)

    def _run(self, command: list[str], **environment: str) -> str:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env={**self.environment, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            said = f"{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
            raise RuntimeError(f"{shlex.join(command)} exited with {done.returncode}:\n{said}")
        return done.stdout


def _free_ports(count: int) -> list[int]:
    """Ports that are free now, below those that systems give out themselves."""
    found: list[int] = []
    for port in range(20_000 + os.getpid() % 10_000, 32_768):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                found.append(port)
        if len(found) == count:
            return found
    raise RuntimeError("no free port from 20,000 to 32,767")


def _engine_answers() -> bool:
    if shutil.which("docker") is None:
        return False
    return not subprocess.run(["docker", "info"], capture_output=True).returncode


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    if not _engine_answers():
        pytest.skip("no Docker engine answers `docker info`")
    stack = Stack()
    stack.build()
    try:
        try:
            stack.up()
        except RuntimeError as error:
            raise RuntimeError(f"{error}\n{stack.compose('logs', '--tail', '40')}") from None
        yield stack
    finally:
        stack.down()


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
        host = container["HostConfig"]
        assert container["Config"]["User"] not in ("", "0", "root"), _service(container)
        assert host["ReadonlyRootfs"]
        assert host["CapDrop"] == ["ALL"]
        assert host["SecurityOpt"] == ["no-new-privileges:true"]
        assert host["Memory"] > 0
        assert host["PidsLimit"] > 0
        published = [one for port in (host["PortBindings"] or {}).values() for one in port]
        assert all(one["HostIp"] == "127.0.0.1" for one in published)
    for service in OURS:
        assert stack.execute(service, "id", "--user").strip() == "10001"
        with pytest.raises(RuntimeError, match="Read-only file system"):
            stack.execute(service, "touch", "/app/new")


def test_the_image_has_what_runs_and_nothing_that_builds(stack: Stack) -> None:
    assert stack.execute("worker", "facecrop", "--version").startswith("facecrop ")
    assert stack.execute("worker", "prefect", "version", "--omit-integrations")
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
    assert stack.api("/api/admin/version") == "3.8.8"
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
    stack.execute("worker", "facecrop", "sample", "/data/sample.zip", "--count", str(MEMBERS))
    if where != "/data":
        copy = f"import s3fs; s3fs.S3FileSystem().put('/data/sample.zip', '{archive}')"
        stack.execute("worker", "python", "-c", copy)
    settings = json.dumps({"run": {"shard_members": 100}})
    parameters = [f"archive={archive}", f"output={output}", f"settings={settings}"]
    stack.execute(
        "worker",
        *("prefect", "deployment", "run", "crop-archive/process", "--watch"),
        *(part for parameter in parameters for part in ("-p", parameter)),
    )

    manifest = f"""
import json, fsspec, pyarrow.parquet
with fsspec.open("{output}/manifest.parquet") as file:
    print(json.dumps(pyarrow.parquet.read_table(file)["member"].to_pylist()))
"""
    assert json.loads(stack.execute("worker", "python", "-c", manifest)) == [*range(MEMBERS)]
    shards = {
        "flows": {"name": {"any_": ["crop-shard"]}},
        "flow_runs": {
            "name": {"like_": archive},
            "state": {"type": {"any_": ["COMPLETED"]}},
        },
    }
    assert stack.api("/api/flow_runs/count", shards) > 0  # the second worker had its share


def test_nothing_goes_wrong_unseen(stack: Stack) -> None:
    logs = stack.compose("logs", "--no-color", "server", "services", "worker")
    assert "Traceback" not in logs, logs[-4000:]

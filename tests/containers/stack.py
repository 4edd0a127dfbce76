"""The compose project of infra/compose.yaml, under a name of its own."""

from __future__ import annotations

import base64
import json
import os
import secrets
import shlex
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from infra.servers.ports import free_ports

ROOT = Path(__file__).resolve().parents[2]
BASES = {
    "FACECROP_PYTHON_IMAGE": "python:3.11-slim",
    "FACECROP_POSTGRES_IMAGE": "postgres:15",
    "FACECROP_REDIS_IMAGE": "redis:7",
}


class Stack:
    """A compose project of its own name, ports and images."""

    def __init__(self) -> None:
        self.name = f"facecrop-test-{os.getpid()}"
        self.port, s3_port = free_ports(2)
        self.auth = f"facecrop:{secrets.token_hex(24)}"
        self.images = {"facecrop": self.name, "seaweedfs": f"{self.name}-seaweedfs"}
        engine = _engine_socket()
        foreign = ("PREFECT_", "FACECROP_", "AWS_", "COMPOSE_")
        bases = {name: image for name in BASES if (image := _base(name))}
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(foreign)},
            **bases,
            "FACECROP_AUTH": self.auth,
            "FACECROP_DB_PASSWORD": secrets.token_hex(24),
            "FACECROP_PORT": str(self.port),
            "FACECROP_S3_PORT": str(s3_port),
            "FACECROP_IMAGE": self.images["facecrop"],
            "FACECROP_SEAWEEDFS_IMAGE": self.images["seaweedfs"],
            "FACECROP_DOCKER_SOCKET": str(engine),
            "FACECROP_DOCKER_GROUP": str(engine.stat().st_gid),
            "AWS_ENDPOINT_URL": "http://seaweedfs:8333",
            "AWS_ACCESS_KEY_ID": secrets.token_hex(12),
            "AWS_SECRET_ACCESS_KEY": secrets.token_hex(24),
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def build(self) -> None:
        """Build the images; FACECROP_BUILD_ARGS may have what this machine needs for that."""
        extra = shlex.split(os.environ.get("FACECROP_BUILD_ARGS", ""))
        if base := self.environment.get("FACECROP_PYTHON_IMAGE"):
            extra += ["--build-arg", f"FACECROP_PYTHON_IMAGE={base}"]
        for target, image in self.images.items():
            command = ["docker", "build", "--file", "infra/Dockerfile", "--target", target, *extra]
            self._run([*command, "--tag", image, "."], DOCKER_BUILDKIT="1")

    def up(self, *options: str) -> None:
        """Brings it up, and waits until all of it is healthy."""
        self.compose("up", "--detach", "--no-build", "--wait", *options)

    def down(self) -> None:
        """Remove all that there is of it."""
        self.compose("down", "--volumes", "--remove-orphans")
        self._run(["docker", "image", "rm", *self.images.values()])

    def compose(self, *arguments: str) -> str:
        """Run `docker compose`, and give what it prints."""
        # --env-file, as the developer's own infra/.env is none of the test's business
        project = ["--project-name", self.name, "--env-file", os.devnull, "--profile", "seaweedfs"]
        return self._run(["docker", "compose", *project, "-f", "infra/compose.yaml", *arguments])

    def execute(self, service: str, *command: str) -> str:
        """Run a command in a service's first container."""
        return self.compose("exec", "-T", service, *command)

    def sample(self, archive: str, members: int) -> None:
        """Has a worker write a sample to /data or to the object store."""
        # one of another size that is there would not be overwritten
        local = archive if archive.startswith("/data/") else f"/data/sample-{members}.zip"
        self.execute("worker", "facecrop", "sample", local, "--count", str(members))
        if local != archive:
            copy = f"import s3fs; s3fs.S3FileSystem().put('{local}', '{archive}')"
            self.execute("worker", "python", "-c", copy)

    def crop(self, pool: str, archive: str, output: str, **run: int) -> None:
        """Run a batch with these `run` settings as a user would, to its end."""
        settings = json.dumps({"run": run})
        parameters = [f"archive={archive}", f"output={output}", f"settings={settings}"]
        self.execute(
            "worker",
            *("prefect", "deployment", "run", f"crop-archive/{pool}", "--watch"),
            *(part for parameter in parameters for part in ("-p", parameter)),
        )

    def trouble(self, *services: str) -> str:
        """What services have logged from their first traceback on; empty where there is none."""
        logs = self.compose("--profile", "docker", "logs", "--no-color", *services)
        _, found, after = logs.partition("Traceback")
        return (found + after)[:12_000]

    def shards(self, pool: str, archive: str) -> list[dict[str, Any]]:
        """The runs on a pool that have each cropped a shard of an archive."""
        wanted = {
            "flows": {"name": {"any_": ["crop-shard"]}},
            "flow_runs": {"state": {"type": {"any_": ["COMPLETED"]}}},
            "work_pools": {"name": {"any_": [f"facecrop-{pool}"]}},
        }
        runs = self.api("/api/flow_runs/filter", wanted)
        return [run for run in runs if run["parameters"]["archive"] == archive]

    def members(self, output: str) -> Any:
        """The column of that name in a batch's manifest."""
        # read first, as threads of pyarrow that hold a Python file may abort Python's own end
        manifest = f"""
import json, fsspec, pyarrow, pyarrow.parquet
with fsspec.open("{output}/manifest.parquet") as file:
    manifest = pyarrow.BufferReader(file.read())
print(json.dumps(pyarrow.parquet.read_table(manifest)["member"].to_pylist()))
"""
        return json.loads(self.execute("worker", "python", "-c", manifest))

    def runs(self) -> Iterator[dict[str, Any]]:
        """What the engine says of each container that is a run on the Docker pool."""
        for number in self._runs():
            with suppress(RuntimeError):  # it removes itself when it ends
                yield json.loads(self._run(["docker", "inspect", number]))[0]

    def remove_runs(self) -> None:
        """Remove the containers of runs that have not ended by themselves."""
        if numbers := self._runs():
            self._run(["docker", "rm", "--force", *numbers])

    def _runs(self) -> list[str]:
        ours = ("--filter", f"network={self.name}_default", "--filter", "label=io.prefect.version")
        return self._run(["docker", "ps", "--all", "--quiet", *ours]).split()

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


def _engine_socket() -> Path:
    endpoint = ["docker", "context", "inspect", "--format", "{{.Endpoints.docker.Host}}"]
    said = subprocess.run(endpoint, check=True, capture_output=True, text=True).stdout.strip()
    return Path(said.removeprefix("unix://"))


def _base(variable: str) -> str | None:
    """The image to take instead of the one with the digest, if any: what the variable says, or what
    an engine out of reach of any registry was given under that name."""
    if chosen := os.environ.get(variable):
        return chosen
    inspect = ["docker", "image", "inspect", "--format", "{{json .RepoDigests}}", BASES[variable]]
    found = subprocess.run(inspect, capture_output=True, text=True)
    made_here = found.returncode == 0 and not json.loads(found.stdout)
    return BASES[variable] if made_here else None


def assert_bare(container: dict[str, Any]) -> None:
    """A container has no privilege, a limit on what it takes, and no way to write to itself."""
    host = container["HostConfig"]
    assert container["Config"]["User"] not in ("", "0", "root"), container["Name"]
    assert host["ReadonlyRootfs"]
    assert host["CapDrop"] == ["ALL"]
    assert host["SecurityOpt"] == ["no-new-privileges:true"]
    assert host["Memory"] > 0
    assert host["PidsLimit"] > 0
    published = [one for port in (host["PortBindings"] or {}).values() for one in port]
    assert all(one["HostIp"] == "127.0.0.1" for one in published)

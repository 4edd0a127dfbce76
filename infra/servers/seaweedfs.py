"""SeaweedFS, a real S3-compatible server, on free ports of this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from infra.servers.ports import free_ports
from infra.servers.process import START_SECONDS, end


@dataclass(frozen=True)
class S3:
    """A running S3-compatible server with one bucket.

    Attributes:
        endpoint: its address.
        bucket: the bucket's name.
        environment: what a process needs to talk to it.
        pid: of the server's one process, while it runs.
    """

    endpoint: str
    bucket: str
    environment: dict[str, str]
    pid: int = 0


@dataclass(frozen=True)
class SeaweedFS:
    """How to run SeaweedFS, an S3-compatible server, with its data in a folder.

    Attributes:
        command, environment: of the process.
        s3: what it is to its clients, once it is ready.
    """

    command: list[str]
    environment: dict[str, str]
    s3: S3

    @classmethod
    def on_free_ports(cls, folder: Path, bucket: str) -> SeaweedFS:
        """With the data in `folder`, which is made.

        Raises:
            RuntimeError: SeaweedFS is not installed.
        """
        weed = shutil.which("weed", path=str(Path(sys.executable).parent)) or shutil.which("weed")
        if weed is None:
            raise RuntimeError("SeaweedFS is missing: install the development dependencies")
        master, volume, filer, admin, s3 = free_ports(5)
        data = folder / "data"
        data.mkdir(parents=True)
        options = {
            **{"dir": data, "ip": "127.0.0.1", "ip.bind": "127.0.0.1"},
            **{"master.port": master, "volume.port": volume, "filer.port": filer},
            **{"admin.port": admin, "s3.port": s3, "s3.port.iceberg": 0, "s3.port.lance": 0},
            **{"master.telemetry": "false", "webdav": "false", "s3.autoCreateBucket": "false"},
        }
        clients = {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{s3}",
            "AWS_ACCESS_KEY_ID": "test-key",
            "AWS_SECRET_ACCESS_KEY": "test-secret",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        return cls(
            [weed, "mini", *(f"-{name}={value}" for name, value in options.items())],
            # with half of that, three quarters of what a large range costs is collecting garbage
            {**clients, "GOMEMLIMIT": "512MiB"},
            S3(clients["AWS_ENDPOINT_URL"], bucket, clients),
        )

    def is_ready(self) -> bool:
        """Whether the server takes the bucket, which is made: only then do all its parts answer."""
        import botocore.exceptions  # type: ignore[import-untyped]
        import botocore.session  # type: ignore[import-untyped]

        client = botocore.session.get_session().create_client(
            "s3",
            endpoint_url=self.s3.endpoint,
            aws_access_key_id=self.environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.environment["AWS_SECRET_ACCESS_KEY"],
            region_name=self.environment["AWS_DEFAULT_REGION"],
        )
        try:
            with suppress(client.exceptions.BucketAlreadyOwnedByYou):
                client.create_bucket(Bucket=self.s3.bucket)
            client.put_object(Bucket=self.s3.bucket, Key="ready", Body=b"")
            client.delete_object(Bucket=self.s3.bucket, Key="ready")
        except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError):
            return False
        return True


@contextmanager
def seaweedfs(folder: Path, bucket: str = "photos") -> Iterator[S3]:
    """Run SeaweedFS with its data and log in `folder`, and end the process it started."""
    weed = SeaweedFS.on_free_ports(folder, bucket)
    with (folder / "weed.log").open("wb") as log:
        process = subprocess.Popen(
            weed.command,
            env={**os.environ, **weed.environment},
            cwd=folder,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            until = time.monotonic() + START_SECONDS
            while not weed.is_ready():
                if process.poll() is not None or time.monotonic() > until:
                    raise RuntimeError(f"SeaweedFS did not start; see {log.name}")
                time.sleep(0.2)
            yield replace(weed.s3, pid=process.pid)
        finally:
            end(process)

"""The servers that samples ask, each started where the first of them does.

They end with the last of them: their worker would take the runs of other tests.
"""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.stage import Stage, with_failures
from tests.intake.web import UPLOAD, Web, body, serving
from tests.services import S3


@pytest.fixture(scope="package")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Where samples run."""
    stage = Stage(tmp_path_factory.mktemp("stage"))
    yield stage
    stage.close()


@pytest.fixture(scope="package")
def local(served: None, stage: Stage) -> Iterator[None]:
    """What runs batches that are submitted without a deployment: crop-archive/local."""
    command = [sys.executable, "-P", "-m", "deployments.serve"]
    environment = {**stage.environment, **stage.served}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as runner:
        assert runner.stdout is not None
        assert "Waiting for runs" in runner.stdout.readline()
        yield
        runner.send_signal(signal.SIGTERM)


@pytest.fixture(scope="package")
def served(
    stage: Stage, prefect: dict[str, str], s3: S3, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """All of Facecrop: a Prefect server, a worker, and the HTTP service with an admin's key."""
    from intake.http.keys import make_key
    from tests.deployed import deploy
    from tests.workers import process_workers

    folder = tmp_path_factory.mktemp("served")
    os.environ["PREFECT_API_URL"] = prefect["PREFECT_API_URL"]
    stage.environment |= s3.environment
    stage.served = {name: value for name, value in os.environ.items() if name[:8] == "PREFECT_"}
    stage.warm(served=True)  # they are imported meanwhile
    deploy()
    key, line = make_key("samples", admin=True)
    keys = folder / "keys"
    keys.write_text(f"{line}\n")
    with (
        process_workers({**stage.environment, **stage.served}, folder, limit=2) as start_worker,
        serving(
            *(folder, f"{stage.home}/data", {**prefect, **s3.environment}, key),
            keys=keys,
            max_pixels=300_000_000,
            prefixes=f"s3://photos,{stage.home}/data",
        ) as web,
    ):
        start_worker("samples")
        stage.served |= _batch(web, folder / "wedding.zip")
        stage.said |= {
            "http://127.0.0.1:4200": prefect["PREFECT_API_URL"].removesuffix("/api"),
            "http://127.0.0.1:8000": web.url,
            "facecrop-…": key,
            "SCHEDULE_ID": _schedule(),
        }
        yield


def _batch(web: Web, archive: Path) -> dict[str, str]:
    """What samples of the service call `$batch`, which has ended, and the hash of a photograph."""
    with_failures(archive)
    batch = body(web.client.post(UPLOAD, content=archive.read_bytes()), 201)["batchId"]
    web.follow(batch, "completed")
    with zipfile.ZipFile(archive) as packed:
        photograph = packed.read(packed.namelist()[0])
    return {"batch": batch, "digest": hashlib.sha256(photograph).hexdigest()}


def _schedule() -> str:
    """The id of the inbox's schedule."""
    from tests.workers import this_client

    (schedule,) = this_client().read_deployment_by_name("watch-inbox/process").schedules
    return str(schedule.id)

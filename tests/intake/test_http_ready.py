"""No service is ready whose store can be read and not written to: real server, S3 and disk."""

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from storage.mark import MARK
from tests.intake.web import body, problem, serving
from tests.services import S3, seaweedfs

pytestmark = [pytest.mark.service, pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    """A bucket as somebody knows it who may only read and list it."""
    weed = shutil.which("weed", path=str(Path(sys.executable).parent)) or shutil.which("weed")
    assert weed is not None
    with seaweedfs(tmp_path_factory.mktemp("reader")) as s3:
        options = Path(f"/proc/{s3.pid}/cmdline").read_text().split("\0")
        ports = dict(one.split("=", 1) for one in options if ".port=" in one)
        where = [f"-{name}=127.0.0.1:{ports[f'-{name}.port']}" for name in ("master", "filer")]
        allow = f"s3.configure -user=r -access_key=r -secret_key=r -buckets={s3.bucket} "
        subprocess.run(
            [weed, "shell", *where],
            input=f"{allow} -actions=Read,List -apply\n",
            text=True,
            check=True,
            capture_output=True,
        )
        keys = {"AWS_ACCESS_KEY_ID": "r", "AWS_SECRET_ACCESS_KEY": "r"}
        yield replace(s3, environment={**s3.environment, **keys})


def test_a_bucket_that_may_only_be_read_is_not_ready(
    deployed: dict[str, str], reader: S3, tmp_path: Path
) -> None:
    environment = {**deployed, **reader.environment}
    with serving(tmp_path, f"s3://{reader.bucket}/store", environment) as web:
        until = time.monotonic() + 60
        while "permission denied" not in (said := problem(web.client.get("/readyz"), 503)):
            assert time.monotonic() < until, said  # the server has yet to hear of the reader
            time.sleep(1)
        assert body(web.client.get("/healthz"), 200)


def test_a_disk_that_takes_no_byte_is_not_ready(deployed: dict[str, str], tmp_path: Path) -> None:
    store = tmp_path / "store"
    store.mkdir()
    with serving(tmp_path, str(store), deployed, limits="-f 0") as web:
        assert "cannot write" in problem(web.client.get("/readyz"), 503)
        assert body(web.client.get("/healthz"), 200)
    assert [path for path in store.rglob("*") if path.is_file()] == []


def test_a_store_that_can_be_written_to_keeps_nothing_of_the_try(
    deployed: dict[str, str], tmp_path: Path
) -> None:
    store = tmp_path / "store"
    with serving(tmp_path, str(store), deployed) as web:
        for _ in range(3):
            assert body(web.client.get("/readyz"), 200) == {"status": "ready"}
    assert [path.name for path in store.rglob("*") if path.is_file()] == [MARK]

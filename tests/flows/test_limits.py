"""An operator spares the object store: chunks wait for a slot, and none is lost."""

import threading
from collections.abc import Iterator
from contextvars import copy_context
from pathlib import Path

import fsspec
import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate

from flows.crop_archive import crop_archive
from intake.cli.samples import write_sample
from pipeline.settings import CropSettings
from tasks.lifecycle.concurrency import STORE
from tests.flows.batches import result
from tests.services import S3

pytestmark = [pytest.mark.service, pytest.mark.slow]

SETTINGS = CropSettings.model_validate({"chunk": {"members": 4}, "run": {"threads": 4}})


@pytest.fixture
def client(prefect: dict[str, str]) -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as client:
        yield client


@pytest.fixture
def two_slots(client: SyncPrefectClient) -> Iterator[None]:
    """Whatever limit another test has left, it has two slots and is on, for this test alone."""
    for limit in client.read_global_concurrency_limits():
        if limit.name == STORE:
            client.delete_global_concurrency_limit_by_name(STORE)
    client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=STORE, limit=2))
    yield
    client.delete_global_concurrency_limit_by_name(STORE)


@pytest.mark.usefixtures("two_slots")
def test_no_more_chunks_are_in_hand_than_there_are_slots(
    client: SyncPrefectClient, s3: S3, tmp_path: Path
) -> None:
    write_sample(tmp_path / "sample.zip", 80)
    archive, output = f"s3://{s3.bucket}/limits/sample.zip", f"s3://{s3.bucket}/limits/out"
    fsspec.filesystem("s3").put_file(str(tmp_path / "sample.zip"), archive)
    taken: list[int] = []
    done = threading.Event()

    def watch() -> None:
        with get_client(sync_client=True) as own:
            while not done.wait(0.02):
                taken.append(own.read_global_concurrency_limit_by_name(STORE).active_slots)

    # where the server is, Prefect knows by context
    watcher = threading.Thread(target=copy_context().run, args=(watch,))
    watcher.start()
    try:
        limited = crop_archive(archive, output, SETTINGS)
    finally:
        done.set()
        watcher.join()
    assert max(taken) == 2
    assert client.read_global_concurrency_limit_by_name(STORE).active_slots == 0
    assert limited.members == 80

    crop_archive(
        str(tmp_path / "sample.zip"), str(tmp_path / "out"), SETTINGS
    )  # no store, no limit
    assert result(output) == result(str(tmp_path / "out"))

"""Outputs are the record: a batch goes on though the server has forgotten it."""

from pathlib import Path
from typing import Any

import pytest

from deployments.apply import main as apply_deployments
from intake.cli.samples import write_sample
from pipeline.local import crop
from pipeline.settings import CropSettings
from tests.flows.batches import result
from tests.workers import kill, production, state, submit, wait, wait_for_end

pytestmark = pytest.mark.service

MEMBERS = 300
SETTINGS: dict[str, Any] = {"chunk": {"members": 10}, "run": {"shard_members": 100, "threads": 1}}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_batch_goes_on_after_the_servers_data_is_lost(
    deployed_rows: Path, tmp_path: Path
) -> None:
    sample, output = tmp_path / "sample.zip", tmp_path / "out"
    write_sample(sample, MEMBERS)
    with production(deployed_rows, tmp_path) as (stack, start_worker):
        worker = start_worker("before")
        submit(str(sample), str(output), SETTINGS)
        wait(lambda: len([*output.glob("parts/*")]) >= 5)
        kill(worker)
        done = {part.name: part.stat().st_mtime_ns for part in output.glob("parts/*")}
        assert not (output / "manifest.parquet").exists(), "too late to show anything"
        stack.lose_all_rows()

        assert apply_deployments() == 0
        start_worker("after")
        run = submit(str(sample), str(output), SETTINGS)
        wait_for_end(run.id)
        assert state(run.id).is_completed(), state(run.id)
        assert (
            done.items()
            <= {part.name: part.stat().st_mtime_ns for part in output.glob("parts/*")}.items()
        )
    undisturbed = tmp_path / "undisturbed"
    chunks = CropSettings.model_validate({"chunk": SETTINGS["chunk"]})
    crop(str(sample), str(undisturbed), chunks)
    assert result(str(output)) == result(str(undisturbed))

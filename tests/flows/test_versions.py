"""From one version of Facecrop to the next while a batch runs.

The next version is this one with a setting more, in a copy of the tree that its worker imports.
"""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pipeline.local import crop
from pipeline.settings import CropSettings
from tests.flows.batches import result
from tests.services import slow_sample
from tests.workers import (
    process_workers,
    shards_of,
    state,
    submit,
    taken_by,
    wait,
    wait_for_end,
)

pytestmark = pytest.mark.service

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("flows", "tasks", "pipeline", "detection", "storage", "intake", "deployments")
SETTINGS: dict[str, Any] = {"chunk": {"members": 4}, "run": {"shard_members": 12, "threads": 1}}
NEW_FIELD = '    novelty: int = Field(7, description="Of the next version.")\n\n    max_pixels: int'


def next_version(folder: Path) -> Path:
    """A copy of the project whose settings have one more."""
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package)
    settings = folder / "pipeline" / "settings.py"
    text = settings.read_text()
    assert text.count("    max_pixels: int") == 1
    settings.write_text(text.replace("    max_pixels: int", NEW_FIELD))
    return folder


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("planner", ["this", "next"])
def test_workers_of_both_versions_share_a_batch(
    planner: str, deployed: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "out"
    paths: Mapping[str, Path] = {"this": ROOT, "next": next_version(tmp_path / "next")}
    (tmp_path / "slow").mkdir()
    with (
        slow_sample(tmp_path / "slow", 96, 1.5) as slow,
        process_workers(deployed, tmp_path) as start_worker,
    ):

        def start(version: str) -> None:
            monkeypatch.setenv("PYTHONPATH", os.fspath(paths[version]))
            start_worker(version)

        start(planner)
        run = submit(slow.url, str(output), SETTINGS)
        wait(lambda: len([*output.glob("parts/*")]) >= 5)
        start("next" if planner == "this" else "this")
        wait(lambda: any(shard.state_name == "Completed" for shard in shards_of(run.id)))
        slow.hurry()
        wait_for_end(run.id, 400)
        assert state(run.id).is_completed(), state(run.id)
        workers = {
            taken_by(shard) for shard in shards_of(run.id) if shard.state_name == "Completed"
        }
        assert workers == {"next" if planner == "this" else "this"}
        monkeypatch.delenv("PYTHONPATH")
    undisturbed = tmp_path / "undisturbed"
    chunks = CropSettings.model_validate({"chunk": SETTINGS["chunk"]})
    crop(str(slow.sample), str(undisturbed), chunks)
    left, expected = result(str(output)), result(str(undisturbed))
    assert left == expected
    record = json.loads((output / "batch.json").read_text())
    assert ("novelty" in record["settings"]["limits"]) == (planner == "next")

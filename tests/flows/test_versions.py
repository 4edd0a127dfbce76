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

from flows.crop_archive import crop_archive
from intake.samples import write_sample
from storage.errors import OutputError
from tasks.batch import open_shard
from tasks.settings import CropSettings
from tests.flows.batches import result
from tests.workers import (
    production,
    shards_of,
    state,
    submit,
    taken_by,
    wait,
    wait_for_end,
)

pytestmark = pytest.mark.service

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("flows", "tasks", "detection", "storage", "intake", "deployments")
SETTINGS: dict[str, Any] = {"chunk": {"members": 10}, "run": {"shard_members": 100, "threads": 1}}
NEW_FIELD = '    novelty: int = Field(7, description="Of the next version.")\n\n    max_pixels: int'


def next_version(folder: Path) -> Path:
    """A copy of the project whose settings have one more."""
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package)
    settings = folder / "tasks" / "settings.py"
    text = settings.read_text()
    assert text.count("    max_pixels: int") == 1
    settings.write_text(text.replace("    max_pixels: int", NEW_FIELD))
    return folder


def forget(record: dict[str, Any], group: str, name: str) -> None:
    """Makes a batch's record that of a version which did not know a setting yet."""
    del record["settings"][group][name]


@pytest.mark.usefixtures("prefect")
def test_an_older_versions_batch_is_resumed(sample: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    crop_archive(str(sample), str(output))
    expected = result(str(output))
    record = json.loads((output / "batch.json").read_text())
    forget(record, "limits", "image_seconds")
    (output / "batch.json").write_text(json.dumps(record))
    (output / "manifest.parquet").unlink()
    crop_archive(str(sample), str(output))
    assert result(str(output)) == expected

    other = CropSettings.model_validate({"limits": {"image_seconds": 5}})
    with pytest.raises(OutputError, match=r"limits\.image_seconds: 120 there, 5 now"):
        crop_archive(str(sample), str(output), other)


@pytest.mark.usefixtures("prefect")
def test_a_batch_in_another_format_is_left_to_its_version(sample: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    crop_archive(str(sample), str(output))
    record = json.loads((output / "batch.json").read_text())
    record["format"] += 1
    (output / "batch.json").write_text(json.dumps(record))
    with pytest.raises(OutputError, match="format: 2 there, 1 now"):
        crop_archive(str(sample), str(output))
    with pytest.raises(OutputError, match="begun by another version of Facecrop"):
        open_shard.fn(str(sample), str(output), 0, CropSettings())


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("planner", ["this", "next"])
def test_workers_of_both_versions_share_a_batch(
    planner: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample, output = tmp_path / "sample.zip", tmp_path / "out"
    write_sample(sample, 800)
    paths: Mapping[str, Path] = {"this": ROOT, "next": next_version(tmp_path / "next")}
    with production(tmp_path) as (_, start_worker):

        def start(version: str) -> None:
            monkeypatch.setenv("PYTHONPATH", os.fspath(paths[version]))
            start_worker(version)

        start(planner)
        run = submit(str(sample), str(output), SETTINGS)
        wait(lambda: len([*output.glob("parts/*")]) >= 5)
        start("next" if planner == "this" else "this")
        wait_for_end(run.id, 400)
        assert state(run.id).is_completed(), state(run.id)
        workers = {
            taken_by(shard) for shard in shards_of(run.id) if shard.state_name == "Completed"
        }
        assert workers == {"next" if planner == "this" else "this"}
        monkeypatch.delenv("PYTHONPATH")
        undisturbed = tmp_path / "undisturbed"
        crop_archive(str(sample), str(undisturbed), CropSettings.model_validate(SETTINGS))
    left, expected = result(str(output)), result(str(undisturbed))
    assert left == expected
    record = json.loads((output / "batch.json").read_text())
    assert ("novelty" in record["settings"]["limits"]) == (planner == "next")

"""A batch that another version of Facecrop began."""

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.batch import open_shard
from pipeline.local import crop
from pipeline.settings import CropSettings
from storage.errors import OutputError
from tests.flows.batches import result

pytestmark = pytest.mark.slow  # all of them together


def forget(record: dict[str, Any], group: str, name: str) -> None:
    """Make a batch's record that of a version which did not know a setting yet."""
    del record["settings"][group][name]


def test_an_older_versions_batch_is_resumed(sample: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    crop(str(sample), str(output))
    expected = result(str(output))
    record = json.loads((output / "batch.json").read_text())
    forget(record, "limits", "image_seconds")
    (output / "batch.json").write_text(json.dumps(record))
    (output / "manifest.parquet").unlink()
    crop(str(sample), str(output))
    assert result(str(output)) == expected

    other = CropSettings.model_validate({"limits": {"image_seconds": 5}})
    with pytest.raises(OutputError, match=r"limits\.image_seconds: 120 there, 5 now"):
        crop(str(sample), str(output), other)


def test_a_batch_in_another_format_is_left_to_its_version(sample: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    crop(str(sample), str(output))
    record = json.loads((output / "batch.json").read_text())
    record["format"] = 5
    (output / "batch.json").write_text(json.dumps(record))
    with pytest.raises(OutputError, match="its format is 5, not 4"):
        crop(str(sample), str(output))
    with pytest.raises(OutputError, match="begun by another version of Facecrop"):
        open_shard(str(sample), str(output), 0, CropSettings())

"""The faces of a batch cut out another way, as a flow run."""

import json
from pathlib import Path

import pytest

from flows.recrop import recrop
from pipeline.local import crop
from pipeline.recrop import local
from pipeline.recrop.settings import RecropSettings
from pipeline.settings import CropSettings
from storage.errors import OutputError
from tests.flows.batches import result

pytestmark = [pytest.mark.service, pytest.mark.usefixtures("prefect")]


def test_the_flow_makes_what_the_plain_call_makes(sample: Path, tmp_path: Path) -> None:
    batch = str(tmp_path / "batch")
    crop(str(sample), batch, CropSettings.model_validate({"chunk": {"members": 8}}))
    asked = RecropSettings.model_validate(
        {"cuts": {"id": {"preset": "id-35x45"}, "small": {"size": 96}}, "where": "rank = 0"}
    )
    plain = local.recrop(batch, str(tmp_path / "plain"), asked)
    made = recrop(batch, str(tmp_path / "made"), asked)
    assert [one.counts for one in made] == [one.counts for one in plain]
    for name in ("id", "small"):
        assert result(f"{tmp_path}/made/{name}") == result(f"{tmp_path}/plain/{name}")
        claimed = json.loads((tmp_path / "made" / name / "batch.json").read_text())
        assert claimed["run"]  # one that crashed finds its own claim again

    with pytest.raises(OutputError, match="holds another batch"):
        recrop(batch, str(tmp_path / "made/id"))
    with pytest.raises(OutputError, match="holds no batch"):
        recrop(str(tmp_path / "nowhere"), str(tmp_path / "x"))

"""Whatever a client sends, within its OpenAPI document or beyond, the service does not fail."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.intake.web import UPLOAD, body, serving, zip_of

_BODY_ENDS_WITH_THE_BATCH = "/events$"


@pytest.mark.service
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_schemathesis_finds_no_5xx(deployed: dict[str, str], tmp_path: Path) -> None:
    with serving(tmp_path, str(tmp_path / "store"), deployed, rate=100_000) as web:
        batch = body(web.client.post(UPLOAD, content=zip_of(b"x")), 201)["batchId"]
        config = tmp_path / "schemathesis.toml"
        # what is handed in has no worker, so each request would wait as long as it may
        given = f'"path.batchId" = "{batch}"\n"query.wait" = 0.1\n'
        config.write_text(f"[parameters]\n{given}")
        command = [str(Path(sys.executable).parent / "schemathesis"), "--config-file", str(config)]
        options = ["--checks", "not_a_server_error", "--max-examples", "20", "--seed", "1"]
        without = ["--exclude-path-regex", _BODY_ENDS_WITH_THE_BATCH]
        done = subprocess.run(
            [*command, "run", f"{web.url}/openapi.json", *options, *without],
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout[-5000:] + done.stderr
        assert "Tested: 21" in done.stdout

"""Facecrop's modules where there is nothing of POSIX alone; see `tests.infra.windows`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.infra import windows

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("started_images")]

ROOT = Path(__file__).resolve().parents[2]


def on_windows(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", windows.THIS, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_every_module_can_be_imported() -> None:
    files = [file for package in windows.OURS for file in (ROOT / package).rglob("*.py")]
    files = [file for file in files if file.name != "__main__.py"]
    done = on_windows("--all")
    assert done.returncode == 0, done.stderr
    packages = sum(file.name == "__init__.py" and file.parent.parent == ROOT for file in files)
    assert int(done.stdout) == len(files) - packages


def test_a_batch_is_the_same(tmp_path: Path, sample: Path) -> None:
    """Processes for images are started as Windows has them, and write what they do elsewhere."""
    command = ["crop", "--no-prefect", "--json", str(sample), "--output"]
    here = subprocess.run(
        [sys.executable, "-m", "facecrop", *command, str(tmp_path / "here")],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    there = on_windows("intake.cli.main", *command, str(tmp_path / "there"))
    assert there.returncode == here.returncode == 3, there.stderr
    counts = [json.loads(done.stdout) for done in (here, there)]
    for count in counts:
        assert count["faces"] > 0
    crops = [
        {file.relative_to(folder): file.read_bytes() for file in folder.rglob("*.jpg")}
        for folder in (tmp_path / "here", tmp_path / "there")
    ]
    assert crops[0] == crops[1] != {}

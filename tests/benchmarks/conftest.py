"""Photographs with labels for a benchmark, and a benchmark as its command runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import pytest
from skimage import data

Benchmark = Callable[..., dict[str, Any]]


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """A folder with a photo of one face, one of none, and the face's label."""
    for name in ("astronaut", "coffee"):
        picture = cv2.cvtColor(getattr(data, name)(), cv2.COLOR_RGB2BGR)
        assert cv2.imwrite(str(tmp_path / f"{name}.jpg"), picture)
    (tmp_path / "faces.csv").write_text("photo,x,y,w,h\nastronaut.jpg,180,68,88,110\n")
    return tmp_path


@pytest.fixture
def benchmark() -> Benchmark:
    """Run `python -m benchmarks NAME --json --photos FOLDER ...`, and give what it prints."""

    def run(name: str, photos: Path, *more: str) -> dict[str, Any]:
        command = [sys.executable, "-m", "benchmarks", name, "--json", "--photos", str(photos)]
        root = Path(__file__).parents[2]
        done = subprocess.run([*command, *more], cwd=root, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        printed: dict[str, Any] = json.loads(done.stdout)
        assert printed.pop("benchmark") == name
        return printed

    return run

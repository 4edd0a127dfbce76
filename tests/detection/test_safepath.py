"""No code is taken from where the user stands."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pictures import astronaut_jpeg

ROOT = Path(__file__).resolve().parents[2]
HOSTILE = (
    "cv2.py", "numpy.py", "json.py", "struct.py", "sitecustomize.py", "usercustomize.py",
    "onnxruntime.py", "detection/__init__.py", "detection/sandbox/child.py", "PIL/__init__.py",
)  # fmt: skip
CROP = """
import json, sys
from detection.sandbox import pool as sandbox
from detection.sandbox.protocol import Bounds
from detection.settings import CutSettings, DetectionSettings
data = open(sys.argv[1], "rb").read()
done = list(sandbox.crop_isolated(
    [(n, data) for n in range(8)], DetectionSettings(), CutSettings(), Bounds(10**8, 60, 1024)
))
print(json.dumps([len(outcome[0].crops) for _, outcome in done]))
"""


@pytest.mark.parametrize("path", [None, "", ".", f"{os.pathsep}{ROOT}", f"here{os.pathsep}."])
def test_modules_in_the_current_folder_are_not_imported(path: str | None, tmp_path: Path) -> None:
    here, marker, image = tmp_path / "here", tmp_path / "marker", tmp_path / "image.jpg"
    image.write_bytes(astronaut_jpeg())
    for name in HOSTILE:
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        (here / name).write_text(f"open({str(marker)!r}, 'a').write({name!r} + chr(10))\n")
    # what this process is started with is the user's; it sets its children's path by its own
    setting = "" if path is None else f"import os; os.environ['PYTHONPATH'] = {path!r}\n"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-P", "-c", setting + CROP, str(image)],
        cwd=here,
        env=environment | {"PYTHONPATH": str(ROOT)} if path is None else environment,
        capture_output=True,
        check=True,
    )
    assert json.loads(done.stdout) == [1] * 8
    assert not marker.exists(), marker.read_text()

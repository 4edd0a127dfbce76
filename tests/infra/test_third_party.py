"""What goes with the image names all that is in it, with the texts of the licences."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LOCK = ROOT / "requirements.lock"
sys.path.insert(0, str(ROOT / "infra"))

import third_party  # type: ignore[import-not-found] # noqa: E402 - a script, of no package


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, list[dict[str, object]]]:
    """THIRD-PARTY.txt, and the components of an SBOM that had none, as the script makes them."""
    folder = tmp_path_factory.mktemp("dist")
    texts, sbom = folder / "THIRD-PARTY.txt", folder / "sbom.cdx.json"
    sbom.write_text('{"components": []}')
    script = [sys.executable, "-P", "infra/third_party.py", str(LOCK), str(texts), str(sbom)]
    subprocess.run(script, cwd=ROOT, check=True)
    return texts.read_text(), json.loads(sbom.read_text())["components"]


def test_every_package_of_the_lock_is_there_with_a_text(
    made: tuple[str, list[dict[str, object]]],
) -> None:
    locked = {
        canonicalize_name(name)
        for name in re.findall(r"^([A-Za-z0-9._-]+)(?:\[|==)", LOCK.read_text(), re.MULTILINE)
    }
    assert len(locked) > 100
    here, elsewhere = third_party.wanted(LOCK)
    assert set(here) | set(elsewhere) == locked
    assert len(elsewhere) < 10
    sections = re.split(r"^={80}$", made[0], flags=re.MULTILINE)
    for name in here:
        version = re.escape(metadata.version(name))
        (section,) = (one for one in sections if re.match(rf"\n{name} {version}\n", one))
        stated, *texts = re.split(r"^--- .*$", section, flags=re.MULTILINE)
        assert len(stated.strip().splitlines()) == 2, stated
        assert any(len(text.strip()) > 300 for text in texts), name


def test_every_file_that_the_code_loads_is_there_with_its_licence(
    made: tuple[str, list[dict[str, object]]],
) -> None:
    known = {one.name: one for one in third_party.DATA}
    loaded = re.compile(r"[\w-]+\.(?:onnx|xml|caffemodel|pb|tflite|dat|npz)\b")
    code = [path.read_text() for path in (ROOT / "detection").rglob("*.py")]
    models = {name for text in code for name in loaded.findall(text)}
    assert {one.name for one in third_party.DATA if one.is_model} == models
    sample = (ROOT / "intake" / "cli" / "samples.py").read_text()
    photographs = set(re.findall(r'_photograph\("(\w+)"\)', sample))
    photographs |= set(re.findall(r'"(\w+)"', re.findall(r"_WITHOUT_FACES = (.*)", sample)[0]))
    assert {one.name.partition(".")[0] for one in known.values() if not one.is_model} == photographs
    for one in known.values():
        assert one.file().is_file()
        assert one.licence_text() in made[0]
    assert (
        "Shenzhen Institute of Artificial Intelligence"
        in known["face_detection_yunet_2023mar.onnx"].licence_text()
    )
    assert "Intel Corporation" in known["haarcascade_frontalface_default.xml"].licence_text()


def test_models_are_in_the_bill_of_materials(made: tuple[str, list[dict[str, object]]]) -> None:
    components = {one["name"]: one for one in made[1]}
    assert components.keys() == {one.name for one in third_party.DATA if one.is_model}
    yunet = components["face_detection_yunet_2023mar.onnx"]
    assert yunet["type"] == "machine-learning-model"
    digest = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"
    assert yunet["hashes"] == [{"alg": "SHA-256", "content": digest}]


def test_what_has_no_text_stops_the_release(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(third_party, "_LACKING", tmp_path)
    with pytest.raises(third_party.LicenceError, match=r"infra/licences/obstore\.txt"):
        third_party.licence_texts("obstore")


def test_the_release_writes_all_of_it_with_pinned_tools() -> None:
    script = (ROOT / "infra" / "release.sh").read_text()
    for name in ("dist/LICENCES.md", "dist/THIRD-PARTY.txt", "dist/sbom.cdx.json"):
        assert name in script
    pins = (ROOT / "requirements-release.lock").read_text()
    for tool in ("cyclonedx-bom", "pip-audit", "pip-licenses"):
        assert re.search(rf"^{tool}==\S+ \\\n +--hash=sha256:", pins, re.MULTILINE), tool
    assert "://" not in pins

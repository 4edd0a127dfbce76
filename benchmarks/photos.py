"""The photos that a benchmark runs on: found or generated, labelled or not, packed in a ZIP."""

from __future__ import annotations

import csv
import shutil
import zipfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage import data

from detection.crop import encode
from storage.output.names import looks_like_image

LABELS = "faces.csv"

_BESIDE = Path(__file__).parents[2] / "shared" / "data" / "photos"
_ASTRONAUT_SIDES = (320, 512, 1024, 3072)  # px: shrunk, as it is, enlarged, and decoded reduced
_ASTRONAUT_SIDE = 512  # px, of the original
_ASTRONAUT_FACE = (180, 68, 88, 110)  # x, y, w, h in px of the original
_FACELESS = ("chelsea", "coffee", "rocket")
_QUALITY = 92

MAX_PIXELS = 1_000_000_000
"""That a photo may have: all that there are."""

Boxes = NDArray[np.float32]
NO_BOXES = np.empty((0, 4), np.float32)
Pixels = NDArray[np.uint8]


@contextmanager
def open_photos(folder: Path | None) -> Iterator[list[Path]]:
    """The image files of a folder by name; without one, those beside the repository or a sample.

    Raises:
        SystemExit: the folder has no photos.
    """
    if folder is None and not _BESIDE.is_dir():
        with TemporaryDirectory() as sample:
            _generate(Path(sample))
            yield _images(Path(sample))
    else:
        yield _images(folder or _BESIDE)


def read_labels(folder: Path) -> dict[str, Boxes] | None:
    """Labelled faces by photo, from `faces.csv` in the folder or its parent; None without one.

    Boxes are (n, 4) float32: x, y, w, h in pixels of the upright image. A photo that is not
    mentioned has no faces.
    """
    found = [place / LABELS for place in (folder, folder.parent) if (place / LABELS).is_file()]
    if not found:
        return None
    boxes: dict[str, list[list[float]]] = defaultdict(list)
    with found[0].open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            boxes[row["photo"]].append([float(row[side]) for side in "xywh"])
    return {photo: np.asarray(rows, np.float32) for photo, rows in boxes.items()}


def pack(photos: Sequence[Path], archive: Path, members: int) -> None:
    """Store `members` photos in a ZIP; they are repeated under other names where they run out."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as file:
        for member in range(members):
            repeat, which = divmod(member, len(photos))
            file.write(photos[which], f"{repeat:04d}/{photos[which].name}")


def repeat(photos: Sequence[Path], folder: Path, count: int) -> None:
    """Copy `count` photos into a new folder; as `pack` does, but that they all lie in one."""
    folder.mkdir(parents=True)
    for number in range(count):
        photo = photos[number % len(photos)]
        shutil.copy(photo, folder / f"{number:06d}-{photo.name}")


def read_photos(folder: Path | None) -> tuple[list[bytes], list[Boxes] | None]:
    """The photos' bytes by name, and the labelled faces of each; None without labels.

    Raises:
        SystemExit: the folder has no photos.
    """
    with open_photos(folder) as photos:
        labels = read_labels(photos[0].parent)
        contents = [photo.read_bytes() for photo in photos]
    faces = None if labels is None else [labels.get(photo.name, NO_BOXES) for photo in photos]
    return contents, faces


def repeated(photos: Sequence[Path], members: int) -> list[bytes]:
    """The bytes of what `pack` stores, in its order."""
    contents = [photo.read_bytes() for photo in photos]
    return [contents[member % len(contents)] for member in range(members)]


def write_astronaut(path: Path, side: int) -> None:
    """A JPEG of one face, `side` pixels wide and high."""
    size = (side, side)
    _write(path, cv2.resize(_sample("astronaut"), size, interpolation=cv2.INTER_AREA))


def resize(photos: Sequence[Path], megapixels: float, folder: Path) -> list[Path]:
    """The largest quarter of the photos as JPEGs of one size, in a folder that is made."""
    folder.mkdir()
    pictures = [(photo, cv2.imread(str(photo))) for photo in photos]
    read = [(photo, picture) for photo, picture in pictures if picture is not None]
    read.sort(key=lambda one: -one[1].size)
    made = []
    for photo, picture in read[: max(1, len(read) // 4)]:
        scale = (megapixels * 1e6 / (picture.shape[0] * picture.shape[1])) ** 0.5
        smooth = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        resized = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=smooth)
        made.append(folder / f"{photo.stem}.jpg")
        made[-1].write_bytes(encode(cast(Pixels, resized), "jpg", _QUALITY))
    return made


def _images(folder: Path) -> list[Path]:
    found = sorted(folder.iterdir()) if folder.is_dir() else []
    images = [path for path in found if looks_like_image(path.name)]
    if not images:
        raise SystemExit(f"{folder} has no photos. Name a folder of image files.")
    return images


def _generate(folder: Path) -> None:
    """Photos that come with scikit-image, as JPEGs, and the labels of their faces."""
    with (folder / LABELS).open("w", encoding="utf-8", newline="") as file:
        labels = csv.writer(file)
        labels.writerow(["photo", *"xywh"])
        for side in _ASTRONAUT_SIDES:
            name, scale = f"astronaut_{side}.jpg", side / _ASTRONAUT_SIDE
            write_astronaut(folder / name, side)
            labels.writerow([name, *(value * scale for value in _ASTRONAUT_FACE)])
    for photo in _FACELESS:
        _write(folder / f"{photo}.jpg", _sample(photo))


def _sample(name: str) -> Pixels:
    return cast(Pixels, getattr(data, name)())


def _write(path: Path, rgb: cv2.typing.MatLike) -> None:
    bgr = cast(Pixels, cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
    path.write_bytes(encode(bgr, "jpg", _QUALITY))

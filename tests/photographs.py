"""Real photographs of people, with labels, that packages of the development lock carry.

None is copied into the repository. photographs.csv says which package carries each, its licence
and its source; the hash makes sure that it is the picture that was labelled. The licences are
stated for scikit-image in `skimage.data`, for O0 to O5 of gramps in image_credits.md beside them;
the other four are too old for copyright. The rest of what gramps carries is not used: engravings,
and one photograph of unclear origin.
"""

from __future__ import annotations

import csv
import hashlib
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

TABLE = Path(__file__).with_suffix(".csv")


@dataclass(frozen=True, slots=True)
class Photograph:
    """A file and the faces in it.

    Attributes:
        path: where its package is installed.
        faces: (n, 4) float32, n may be 0: x, y, w, h in px, from forehead (or hat) to chin and from
            temple to temple; drawn by hand on the enlarged picture, without a detector.
    """

    path: Path
    faces: NDArray[np.float32]

    def upright(self) -> Image.Image:
        """The picture, RGB."""
        with Image.open(self.path) as image:
            return image.convert("RGB")


@cache
def photographs() -> tuple[Photograph, ...]:
    """Ten of people, sixteen faces in all, and three of nobody."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        return tuple(map(_photograph, csv.DictReader(file)))


def _photograph(row: dict[str, str]) -> Photograph:
    files = metadata.files(row["package"]) or []
    (path,) = (Path(str(file.locate())) for file in files if file.name == row["name"])
    if hashlib.sha256(path.read_bytes()).hexdigest() != row["sha256"]:
        raise ValueError(f"{path} is not the picture that was labelled: look at it, label it again")
    faces = [[float(side) for side in face.split()] for face in row["faces"].split(";") if face]
    return Photograph(path, np.array(faces, np.float32).reshape(-1, 4))

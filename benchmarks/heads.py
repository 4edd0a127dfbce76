"""How near the estimated chin and crown of a head come to those that were labelled by eye.

heads.csv beside this file has the lowest point of the chin and the highest of the head, hair and
all, of 40 heads in photographs of ../shared/data: 27 that the estimate was fitted to, and 13 that
it was not. They were read off enlarged pictures with a ruler, to about a hundredth of the head's
height. Heads with hats, in profile, or with a chin that cannot be seen were left out.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np

from benchmarks.photos import MAX_PIXELS, open_photos
from benchmarks.report import Column, Report
from detection.framing.head import Head, head_of
from detection.image import crop_faces, make_detector
from detection.settings import CutSettings, DetectionSettings

_LABELS = Path(__file__).with_suffix(".csv")
_DETECTION = DetectionSettings()


@dataclass(frozen=True, slots=True)
class Row:
    """Errors of one end of the head, or of its height, as shares of the labelled height."""

    of: Annotated[str, Column("")]
    use: Annotated[str, Column("heads")]
    count: Annotated[int, Column("n", "d")]
    median: Annotated[float, Column("median", ".1%")]
    ninth: Annotated[float, Column("90 %", ".1%")]
    bias: Annotated[float, Column("mean, signed", "+.1%")]


@dataclass(frozen=True, slots=True)
class _Error:
    """Of one head: positive where it was estimated too long."""

    use: str
    chin: float
    crown: float

    @property
    def height(self) -> float:
        return self.chin + self.crown


def add_options(_: argparse.ArgumentParser) -> None:
    pass


def run(options: argparse.Namespace) -> Report:
    with open_photos(options.photos) as photos:
        there = {photo.name: photo for photo in photos}
        with _LABELS.open(encoding="utf-8", newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["photo"] in there]
        errors = [error for row in rows if (error := _error(there[row["photo"]].read_bytes(), row))]
    table = [
        _row(of, use, [getattr(error, of) for error in errors if error.use == use])
        for of in ("chin", "crown", "height")
        for use in ("calibration", "check")
        if any(error.use == use for error in errors)
    ]
    about = "Errors of estimated heads, as shares of the height that was labelled."
    return Report(about, {"rows": table}, {"labelled": len(rows), "found": len(errors)})


def _error(data: bytes, row: dict[str, str]) -> _Error | None:
    """Of the face between a labelled chin and crown; None where none was found."""
    chin = complex(float(row["chin_x"]), float(row["chin_y"]))
    crown = complex(float(row["crown_x"]), float(row["crown_y"]))
    middle, height = (chin + crown) / 2, abs(chin - crown)
    image = crop_faces(data, make_detector(_DETECTION), _DETECTION, CutSettings(), MAX_PIXELS)
    faces = [crop for crop in image.crops if crop.landmarks and _holds(crop.box, middle)]
    if not faces:
        return None
    face = min(faces, key=lambda crop: abs(_middle(crop.box) - middle))
    head = head_of(face.box, [complex(*point) for point in face.landmarks or ()])
    below, above = _down(head, head.chin, chin), _down(head, head.crown, crown)
    return _Error(row["use"], below / height, -above / height)


def _holds(box: Sequence[float], point: complex) -> bool:
    x, y, w, h = box
    return x < point.real < x + w and y < point.imag < y + h


def _middle(box: Sequence[float]) -> complex:
    x, y, w, h = box
    return complex(x + w / 2, y + h / 2)


def _down(head: Head, estimated: complex, labelled: complex) -> float:
    """How much further down the face one point is than another, in pixels."""
    return ((estimated - labelled) / (1j * head.across)).real


def _row(of: str, use: str, errors: Sequence[float]) -> Row:
    sizes = np.abs(errors)
    median, ninth = np.quantile(sizes, [0.5, 0.9]).tolist()
    return Row(of, use, len(errors), median, ninth, float(np.mean(errors)))

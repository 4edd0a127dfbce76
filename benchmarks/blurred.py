"""Photographs with their faces covered beside crops: CPU time, and which faces are left to see.

Each side does with the same photographs' bytes what a batch's processes do. A labelled face (see
`accuracy`) counts as covered where nine of ten points of its box lie in what is covered. One
thread; the sides take turns, and CPU times are medians over the rounds.
"""

from __future__ import annotations

import argparse
import statistics
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from time import thread_time
from typing import Annotated

import numpy as np

from benchmarks.photos import MAX_PIXELS, NO_BOXES, Boxes, read_photos
from benchmarks.report import Column, Report
from benchmarks.rounds import turns
from detection.cover import REACH
from detection.errors import ImageError
from detection.image import crop_faces, make_detector
from detection.options import MEMORY_MIB, Cover
from detection.settings import CutSettings, DetectionSettings

_POINTS = 20  # of a box, on each side
_COVERED = 0.9  # of these


@dataclass(frozen=True, slots=True)
class Row:
    """One side.

    Attributes:
        side: crops, or what covers faces, and how they are found.
        cpu_ms: milliseconds a photograph, median over the rounds.
        times: that, over those of crops with the same profile's defaults.
        left: labelled faces that are not covered; None for crops, and without labels.
        share: that, of all labelled faces.
        bytes: of what is written, over those of the photographs.
    """

    side: Annotated[str, Column("")]
    cpu_ms: Annotated[float, Column("CPU ms a photograph", ".1f")]
    times: Annotated[float, Column("times crops", ".2f")]
    left: Annotated[int | None, Column("faces left", "d")]
    share: Annotated[float | None, Column("share", ".2%")]
    bytes: Annotated[float, Column("bytes written / read", ".2f")]


class _Side:
    def __init__(self, name: str, cover: Cover | None, detection: DetectionSettings) -> None:
        self.name = name
        self.cover = cover
        self._detection = detection
        self._detector = make_detector(detection)

    def run(self, data: bytes) -> tuple[Boxes, int]:
        """The boxes of faces, and how many bytes are written."""
        options = self._detection, CutSettings(), MAX_PIXELS, MEMORY_MIB, self.cover
        try:
            image = crop_faces(data, self._detector, *options)
        except ImageError:
            return NO_BOXES, 0
        boxes = np.array([crop.box for crop in image.crops], np.float32).reshape(-1, 4)
        return boxes, len(image.photo) + sum(len(crop.data) for crop in image.crops)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--images", type=int, default=0, help="of the photos; 0: all")


def run(options: argparse.Namespace) -> Report:
    photos, labels = read_photos(options.photos)
    some = slice(0, options.images or None)
    photos, labels = photos[some], None if labels is None else labels[some]
    plain = DetectionSettings()
    careful = DetectionSettings(profile="thorough", min_score=0.3)
    sides = [
        _Side("crops", None, plain),
        _Side("blur", "blur", plain),
        _Side("pixelate", "pixelate", plain),
        _Side("mask", "mask", plain),
        _Side("mask, thorough, from score 0.3", "mask", careful),
    ]
    seconds: dict[str, list[float]] = defaultdict(list)
    written: dict[str, int] = {}
    left: dict[str, int] = {}
    for _, side in turns(sides, options.rounds):
        started = thread_time()
        done = [side.run(data) for data in photos]
        seconds[side.name].append(thread_time() - started)
        written[side.name] = sum(size for _, size in done)
        if labels is not None:
            pairs = zip(labels, (boxes for boxes, _ in done), strict=True)
            left[side.name] = sum(_left(faces, boxes) for faces, boxes in pairs)
    faces = None if labels is None else sum(map(len, labels))
    each = {name: 1e3 * statistics.median(took) / len(photos) for name, took in seconds.items()}
    rows = [
        Row(
            side.name,
            each[side.name],
            each[side.name] / each["crops"],
            left.get(side.name) if side.cover else None,
            left[side.name] / faces if side.cover and faces else None,
            written[side.name] / sum(map(len, photos)),
        )
        for side in sides
    ]
    about = f"{len(photos)} photographs with {faces or 'unlabelled'} faces."
    return Report(about, {"rows": rows})


def _left(faces: Boxes, boxes: Boxes) -> int:
    """How many labelled faces are not covered."""
    return sum(_share_covered(face, boxes) < _COVERED for face in faces)


def _share_covered(face: Iterable[float], boxes: Boxes) -> float:
    """Share of the points of a labelled box that lie in the ellipses around the found ones."""
    x, y, w, h = face
    steps = (np.arange(_POINTS) + 0.5) / _POINTS
    across, down = np.meshgrid(x + w * steps, y + h * steps)
    inside = np.zeros(across.shape, np.bool_)
    for bx, by, bw, bh in boxes:
        far = ((across - bx - bw / 2) / (bw * REACH / 2)) ** 2
        inside |= far + ((down - by - bh / 2) / (bh * REACH / 2)) ** 2 <= 1
    return float(inside.mean())

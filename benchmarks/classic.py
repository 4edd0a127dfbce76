"""The algorithm of the system before this one, against ours, photo by photo in one run.

The old one is written as its authors had it: decode the whole image, shrink it to at most 1024 px,
OpenCV's frontal-face cascade, a padded crop of each face out of the whole image, 300x300, JPEG.
Ours is `crop_faces` with each named profile. One thread; all sides see a photo one after another,
so that whatever else the machine does slows them alike. Recall and precision are against faces.csv.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import thread_time
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.accuracy import Agreement, agree
from benchmarks.photos import Boxes, open_photos, read_labels
from detection.detector import Detector
from detection.errors import ImageError
from detection.haar import Haar
from detection.image import crop_faces, make_detector
from detection.settings import PROFILES, CutSettings, DetectionSettings

_SIDE = 1024  # px, longest, at which the old system looked for faces
_SIZE = 300
_PADDING = 0.2
_QUALITY = 95  # OpenCV's own
_MAX_PIXELS = 1_000_000_000
_NO_BOXES = np.empty((0, 4), np.float32)

_Look = Callable[[bytes], Boxes]


@dataclass(frozen=True, slots=True)
class Side:
    """One side. CPU milliseconds an image are medians over the rounds.

    Attributes:
        name: `classic`, or a profile.
        times: its images per CPU second over those of `classic`.
        rounds: CPU milliseconds an image in each round.
    """

    name: str
    cpu_ms: float
    times: float
    faces: int
    recall: float | None
    precision: float | None
    rounds: list[float]


@dataclass(frozen=True, slots=True)
class Result:
    """What was measured.

    Attributes:
        photos: how many there are.
        labelled: labelled faces; None without labels.
    """

    photos: int
    labelled: int | None
    sides: list[Side]

    def show(self, console: Console) -> None:
        """Prints it for people."""
        rounds = len(self.sides[0].rounds)
        console.print(
            f"{self.photos} photos, bytes to encoded crops, one thread; medians of {rounds} "
            "rounds in turn."
        )
        table = Table("")
        for title in ("CPU ms an image", "times as fast", "faces", "recall", "precision"):
            table.add_column(title, justify="right")
        for side in self.sides:
            table.add_row(
                side.name,
                f"{side.cpu_ms:.1f}",
                f"{side.times:.1f}",
                str(side.faces),
                "" if side.recall is None else f"{side.recall:.3f}",
                "" if side.precision is None else f"{side.precision:.3f}",
            )
        console.print(table)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--rounds", type=int, default=5, help="over all photos (default: %(default)s)"
    )


def run(options: argparse.Namespace) -> Result:
    with open_photos(options.photos) as photos:
        labels = read_labels(photos[0].parent)
        contents = [photo.read_bytes() for photo in photos]
    faces = None if labels is None else [labels.get(photo.name, _NO_BOXES) for photo in photos]
    looks: dict[str, _Look] = {"classic": _Classic().look}
    looks |= {name: _Ours(DetectionSettings(profile=name)).look for name in PROFILES}
    for look in looks.values():
        look(contents[0])  # the first image of a thread pays for what is made once
    found: dict[str, list[Boxes]] = {}
    spent: dict[str, list[float]] = {name: [] for name in looks}
    rounds = range(options.rounds)
    for number in track(rounds, "Rounds", console=Console(stderr=True), transient=True):
        found = {name: [] for name in looks}
        seconds = dict.fromkeys(looks, 0.0)
        names = list(looks)
        for photo, data in enumerate(contents):
            turn = (number + photo) % len(names)
            for name in names[turn:] + names[:turn]:  # nobody always finds the photo in the cache
                started = thread_time()
                boxes = looks[name](data)
                seconds[name] += thread_time() - started
                found[name].append(boxes)
        for name, value in seconds.items():
            spent[name].append(value / len(contents) * 1e3)
    classic = statistics.median(spent["classic"])
    sides = [_side(name, spent[name], classic, found[name], faces) for name in looks]
    return Result(len(contents), None if faces is None else sum(map(len, faces)), sides)


def _side(
    name: str,
    rounds: list[float],
    classic: float,
    found: Sequence[Boxes],
    labelled: Sequence[Boxes] | None,
) -> Side:
    agreement = Agreement()
    if labelled is not None:
        agreement = sum(map(agree, found, labelled), start=agreement)
    cpu_ms = statistics.median(rounds)
    return Side(
        name,
        cpu_ms,
        classic / cpu_ms,
        sum(map(len, found)),
        agreement.recall,
        agreement.precision if labelled is not None else None,
        rounds,
    )


class _Classic:
    def __init__(self) -> None:
        self._cascade = Haar()

    def look(self, data: bytes) -> Boxes:
        """Crops all faces of an image, and says where they were, in its pixels."""
        image = cast(
            "NDArray[np.uint8] | None",
            cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR),
        )
        if image is None:
            return _NO_BOXES
        height, width = image.shape[:2]
        shrink = min(1.0, _SIDE / max(height, width))
        small = image
        if shrink < 1:
            small = cast(
                NDArray[np.uint8],
                cv2.resize(image, (round(width * shrink), round(height * shrink))),
            )
        boxes = self._cascade.detect(small).scaled(1 / shrink, 1 / shrink).boxes
        for x, y, w, h in boxes:
            x0, y0 = max(0, round(x - w * _PADDING)), max(0, round(y - h * _PADDING))
            x1 = min(width, round(x + w * (1 + _PADDING)))
            y1 = min(height, round(y + h * (1 + _PADDING)))
            crop = cv2.resize(image[y0:y1, x0:x1], (_SIZE, _SIZE))
            cv2.imencode(".jpg", crop, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
        return boxes


class _Ours:
    def __init__(self, settings: DetectionSettings) -> None:
        self._settings = settings
        self._detector: Detector = make_detector(settings)
        self._cut = CutSettings()

    def look(self, data: bytes) -> Boxes:
        """Crops all faces of an image, and says where they were, in its pixels."""
        try:
            image = crop_faces(data, self._detector, self._settings, self._cut, _MAX_PIXELS)
        except ImageError:
            return _NO_BOXES
        return np.array([crop.box for crop in image.crops], np.float32).reshape(-1, 4)

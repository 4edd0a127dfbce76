"""The algorithm of the system before this one, against ours, photo by photo in one run.

The old one is written as its authors had it: decode the whole image, shrink it to at most 1024 px,
OpenCV's frontal-face cascade, a padded crop of each face out of the whole image, 300x300, JPEG.
Ours is `crop_faces` with each named profile. One thread; all sides see a photo one after another,
so that whatever else the machine does slows them alike. Recall and precision are against faces.csv.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from time import thread_time
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.accuracy import boxes_of, score, share
from benchmarks.padded import SIZE, padded
from benchmarks.photos import MAX_PIXELS, NO_BOXES, Boxes, read_photos
from benchmarks.rounds import look_in_turn
from detection.detector import Detector
from detection.errors import ImageError
from detection.haar import Haar
from detection.image import crop_faces, make_detector
from detection.settings import PROFILES, CutSettings, DetectionSettings

_SIDE = 1024  # px, longest, at which the old system looked for faces
_QUALITY = 95  # OpenCV's own

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
                share(side.recall),
                share(side.precision),
            )
        console.print(table)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--rounds", type=int, default=5, help="over all photos (default: %(default)s)"
    )


def run(options: argparse.Namespace) -> Result:
    contents, faces = read_photos(options.photos)
    sides = [_Timed("classic", _Classic().look)]
    sides += [_Timed(name, _Ours(DetectionSettings(profile=name)).look) for name in PROFILES]
    for one in sides:
        one.look(contents[0])  # the first image of a thread pays for what is made once
    look_in_turn(sides, contents, options.rounds)
    classic = sides[0].cpu_ms
    return Result(
        len(contents),
        None if faces is None else sum(map(len, faces)),
        [
            Side(one.name, one.cpu_ms, classic / one.cpu_ms, *score(one.found, faces), one.rounds)
            for one in sides
        ],
    )


class _Timed:
    """A side, its CPU milliseconds an image in each round, and what it found in the last."""

    def __init__(self, name: str, look: _Look) -> None:
        self.name = name
        self.look = look
        self.found: list[Boxes] = []
        self._seconds: list[float] = []

    @property
    def rounds(self) -> list[float]:
        return [seconds / len(self.found) * 1e3 for seconds in self._seconds]

    @property
    def cpu_ms(self) -> float:
        return statistics.median(self.rounds)

    def begin(self) -> None:
        self.found.clear()
        self._seconds.append(0.0)

    def look_at(self, data: bytes) -> None:
        started = thread_time()
        boxes = self.look(data)
        self._seconds[-1] += thread_time() - started
        self.found.append(boxes)


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
            return NO_BOXES
        height, width = image.shape[:2]
        shrink = min(1.0, _SIDE / max(height, width))
        small = image
        if shrink < 1:
            small = cast(
                NDArray[np.uint8],
                cv2.resize(image, (round(width * shrink), round(height * shrink))),
            )
        boxes = self._cascade.detect(small).scaled(1 / shrink, 1 / shrink).boxes
        for part in padded(image, boxes):
            crop = cv2.resize(part, (SIZE, SIZE))
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
            image = crop_faces(data, self._detector, self._settings, self._cut, MAX_PIXELS)
        except ImageError:
            return NO_BOXES
        return boxes_of(image)

"""Recall, precision and CPU time of both detectors.

What a batch with these settings finds, against the boxes of faces.csv (photo, x, y, w, h in px of
the upright image) in the photos' folder or its parent. A found box is right if it overlaps a
labelled one by an IoU of 0.5; each counts once.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.clock import crop_faces_timed
from benchmarks.photos import Boxes, open_photos, read_labels
from detection.errors import ImageError
from detection.geometry import iou
from detection.image import make_detector
from detection.settings import CutSettings, DetectionSettings

MIN_IOU = 0.5
SIDES = (320, 640, 1024)
SCORES = (0.5, 0.6, 0.65, 0.7)

_MAX_PIXELS = 1_000_000_000
_NO_BOXES = np.empty((0, 4), np.float32)


@dataclass(frozen=True, slots=True)
class Agreement:
    """How found boxes agree with labelled ones. All are counts of boxes."""

    labelled: int = 0
    found: int = 0
    right: int = 0

    def __add__(self, other: Agreement) -> Agreement:
        return Agreement(
            self.labelled + other.labelled, self.found + other.found, self.right + other.right
        )

    @property
    def recall(self) -> float | None:
        """Share of the labelled faces that were found; None without any."""
        return self.right / self.labelled if self.labelled else None

    @property
    def precision(self) -> float | None:
        """Share of the found faces that are labelled; None without any."""
        return self.right / self.found if self.found else None


def agree(found: Boxes, labelled: Boxes, min_iou: float = MIN_IOU) -> Agreement:
    """Pairs found and labelled boxes, both (n, 4), one to one, greedily, the best IoU first."""
    overlaps = np.array([iou(box, labelled) for box in found]).reshape(len(found), len(labelled))
    right = 0
    while overlaps.size and overlaps.max() >= min_iou:
        row, column = np.unravel_index(np.argmax(overlaps), overlaps.shape)
        overlaps[row, :] = overlaps[:, column] = -1
        right += 1
    return Agreement(len(labelled), len(found), right)


@dataclass(frozen=True, slots=True)
class Row:
    """One detector at one longest side. Times are mean CPU milliseconds an image, one thread."""

    method: str
    side: int
    min_score: float | None
    found: int
    recall: float | None
    precision: float | None
    detect_ms: float
    decode_and_detect_ms: float


@dataclass(frozen=True, slots=True)
class Result:
    """What was measured.

    Attributes:
        photos, unreadable: how many there are, and how many of them cannot be decoded.
        labelled: labelled faces; None without labels.
        below_min_face: those of them whose shorter side is below `min_face` px, which a batch
            leaves out on purpose.
        rows: both detectors at each side, with the score asked for.
        scores: YuNet at the default side, by lowest score.
    """

    photos: int
    unreadable: int
    labelled: int | None
    below_min_face: int | None
    min_face: int
    rows: list[Row]
    scores: list[Row]

    def show(self, console: Console) -> None:
        """Prints it for people."""
        console.print(
            f"{self.photos} photos, {self.unreadable} of them unreadable. Mean CPU ms an image "
            "of one thread: detector alone, and decoding with it."
        )
        if self.labelled is None:
            console.print("No faces.csv beside them: times only.")
        else:
            console.print(
                f"{self.labelled} labelled faces, {self.below_min_face} of them below "
                f"{self.min_face} px (min_face). IoU {MIN_IOU}."
            )
        for rows in (self.rows, self.scores):
            table = Table("detector", "px", "score", "found", "recall", "precision")
            for title in ("detect", "+ decode"):
                table.add_column(title, justify="right")
            for row in rows:
                table.add_row(
                    row.method,
                    str(row.side),
                    "" if row.min_score is None else f"{row.min_score:g}",
                    str(row.found),
                    _share(row.recall),
                    _share(row.precision),
                    f"{row.detect_ms:.1f}",
                    f"{row.decode_and_detect_ms:.1f}",
                )
            console.print(table)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--min-score",
        type=float,
        default=DetectionSettings().min_score,
        help="YuNet's lowest score, 0 to 1 (default: that of a batch, %(default)s)",
    )


def run(options: argparse.Namespace) -> Result:
    with open_photos(options.photos) as photos:
        labels = read_labels(photos[0].parent)
        runs = [
            _Run(DetectionSettings(method="yunet", side=side, min_score=options.min_score))
            for side in SIDES
        ]
        runs += [_Run(DetectionSettings(method="haar", side=side)) for side in SIDES]
        # A weaker face never displaces a stronger one, so the lowest score's run holds them all.
        by_score = _Run(DetectionSettings(min_score=min(SCORES)))
        # Photo by photo, so that what else the machine does slows all of them alike.
        for photo in track(photos, "Detecting", console=Console(stderr=True), transient=True):
            data = photo.read_bytes()
            for one in [*runs, by_score]:
                one.look_at(data)
    faces = None if labels is None else [labels.get(photo.name, _NO_BOXES) for photo in photos]
    min_face = DetectionSettings().min_face
    sides = None if faces is None else np.concatenate(faces)[:, 2:].min(axis=1)
    return Result(
        len(photos),
        by_score.unreadable,
        None if sides is None else len(sides),
        None if sides is None else int((sides < min_face).sum()),
        min_face,
        [one.row(faces, one.settings.min_score) for one in runs],
        [by_score.row(faces, score) for score in SCORES],
    )


class _Run:
    """One detector's pass over the photos, one by one."""

    def __init__(self, settings: DetectionSettings) -> None:
        self.settings = settings
        self.unreadable = 0
        self._detector = make_detector(settings)
        self._found: list[tuple[Boxes, NDArray[np.float32]]] = []
        self._decode = self._detect = 0.0

    def look_at(self, data: bytes) -> None:
        try:
            image, split = crop_faces_timed(
                data, self._detector, self.settings, CutSettings(), _MAX_PIXELS
            )
        except ImageError:
            self.unreadable += 1
            self._found.append((_NO_BOXES, np.empty(0, np.float32)))
            return
        # Haar gives no scores: whatever it finds passes
        scores = [1.0 if crop.score is None else crop.score for crop in image.crops]
        boxes = np.array([crop.box for crop in image.crops], np.float32).reshape(-1, 4)
        self._found.append((boxes, np.array(scores, np.float32)))
        self._decode += split.decode
        self._detect += split.detect

    def row(self, labelled: Sequence[Boxes] | None, min_score: float) -> Row:
        """What it came to, had `min_score` been its lowest score."""
        kept = [boxes[scores >= min_score] for boxes, scores in self._found]
        agreement = Agreement(found=sum(map(len, kept)))
        if labelled is not None:
            agreement = sum(map(agree, kept, labelled), start=Agreement())
        milliseconds = 1e3 / max(1, len(self._found) - self.unreadable)
        return Row(
            self.settings.method,
            self.settings.side,
            min_score if self.settings.method == "yunet" else None,
            agreement.found,
            agreement.recall,
            agreement.precision if labelled is not None else None,
            self._detect * milliseconds,
            (self._decode + self._detect) * milliseconds,
        )


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"

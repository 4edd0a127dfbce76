"""Recall and precision against CPU time: the profiles, YuNet's sides and scores, the cascade.

What a batch with these settings finds, against the boxes of faces.csv (photo, x, y, w, h in px of
the upright image) in the photos' folder or its parent. A found box is right if it overlaps a
labelled one by an IoU of 0.5; each counts once. One thread; all settings see a photo one after
another, and CPU times are medians over the rounds.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.clock import crop_faces_timed
from benchmarks.photos import MAX_PIXELS, NO_BOXES, Boxes, read_photos
from benchmarks.rounds import look_in_turn
from detection.errors import ImageError
from detection.geometry import iou
from detection.image import Image, make_detector
from detection.settings import PROFILES, CutSettings, DetectionSettings

MIN_IOU = 0.5
SIDES = (320, 480, 640, 800, 1024)
SCORES = (0.5, 0.6, 0.7, 0.8)
HAAR_SIDE = 1024


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


def score(
    found: Sequence[Boxes], labelled: Sequence[Boxes] | None
) -> tuple[int, float | None, float | None]:
    """How many boxes were found in some photos, their recall and precision; None without labels."""
    if labelled is None:
        return sum(map(len, found)), None, None
    agreement = sum(map(agree, found, labelled), start=Agreement())
    return agreement.found, agreement.recall, agreement.precision


def boxes_of(image: Image) -> Boxes:
    """(n, 4) float32 boxes of the faces that were cut out, by rank."""
    return np.array([crop.box for crop in image.crops], np.float32).reshape(-1, 4)


@dataclass(frozen=True, slots=True)
class Row:
    """One choice of settings. Times are CPU milliseconds an image, medians over the rounds.

    Attributes:
        name: a profile, `yunet` or `haar`.
        side: longest, in pixels, of the first look.
        min_score: None for the cascade.
        found: faces.
        detect_ms: of the detector alone.
        image_ms: from bytes to encoded crops.
        edge: whether no other row is at least as good in recall, precision and time, and better
            in one.
    """

    name: str
    side: int
    min_score: float | None
    found: int
    recall: float | None
    precision: float | None
    detect_ms: float
    image_ms: float
    edge: bool = False


@dataclass(frozen=True, slots=True)
class Result:
    """What was measured.

    Attributes:
        photos, unreadable: how many there are, and how many of them cannot be decoded.
        labelled: labelled faces; None without labels.
        below_min_face: those of them whose shorter side is below `min_face` px, which a batch
            leaves out on purpose.
        rows: the profiles, YuNet at each side with each score, the cascade.
    """

    photos: int
    unreadable: int
    rounds: int
    labelled: int | None
    below_min_face: int | None
    min_face: int
    rows: list[Row]

    def show(self, console: Console) -> None:
        """Prints it for people."""
        console.print(
            f"{self.photos} photos, {self.unreadable} of them unreadable. CPU ms an image of one "
            f"thread, medians of {self.rounds} rounds: the detector alone, and bytes to crops."
        )
        if self.labelled is None:
            console.print("No faces.csv beside them: times only.")
        else:
            console.print(
                f"{self.labelled} labelled faces, {self.below_min_face} of them below "
                f"{self.min_face} px (min_face). IoU {MIN_IOU}. * No other row is better."
            )
        table = Table("", "px", "score", "found", "recall", "precision")
        for title in ("detect", "whole image"):
            table.add_column(title, justify="right")
        table.add_column("")
        name = ""
        for row in self.rows:
            if row.name != name:
                name = row.name
                table.add_section()
            table.add_row(
                row.name,
                str(row.side),
                "" if row.min_score is None else f"{row.min_score:g}",
                str(row.found),
                share(row.recall),
                share(row.precision),
                f"{row.detect_ms:.1f}",
                f"{row.image_ms:.1f}",
                "*" if row.edge else "",
            )
        console.print(table)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--rounds", type=int, default=5, help="over all photos (default: %(default)s)"
    )


def run(options: argparse.Namespace) -> Result:
    contents, faces = read_photos(options.photos)
    profiles = [_Run(name, DetectionSettings(profile=name)) for name in PROFILES]
    # A weaker face never displaces a stronger one, so the lowest score's run holds them all.
    sides = [_Run("yunet", DetectionSettings(side=side, min_score=min(SCORES))) for side in SIDES]
    haar = _Run("haar", DetectionSettings(method="haar", side=HAAR_SIDE))
    runs = [*profiles, *sides, haar]
    look_in_turn(runs, contents, options.rounds)
    min_face = DetectionSettings().min_face
    shorter = None if faces is None else np.concatenate(faces)[:, 2:].min(axis=1)
    rows = [one.row(faces, one.min_score) for one in profiles]
    rows += [one.row(faces, score) for one in sides for score in SCORES]
    rows.append(haar.row(faces, None))
    return Result(
        len(contents),
        haar.unreadable,
        options.rounds,
        None if shorter is None else len(shorter),
        None if shorter is None else int((shorter < min_face).sum()),
        min_face,
        [replace(row, edge=not any(_better(other, row) for other in rows)) for row in rows],
    )


def _better(one: Row, other: Row) -> bool:
    # time in whole steps of 5 %: what is closer is noise
    ours = (one.recall or 0, one.precision or 0, -round(math.log(one.image_ms, 1.05)))
    theirs = (other.recall or 0, other.precision or 0, -round(math.log(other.image_ms, 1.05)))
    return ours != theirs and all(a >= b for a, b in zip(ours, theirs, strict=True))


class _Run:
    """One detector's rounds over the photos."""

    def __init__(self, name: str, settings: DetectionSettings) -> None:
        self.min_score = settings.effort.min_score
        self.unreadable = 0
        self._name = name
        self._settings = settings
        self._detector = make_detector(settings)
        self._found: list[tuple[Boxes, NDArray[np.float32]]] = []
        self._detect: list[float] = []
        self._image: list[float] = []

    def begin(self) -> None:
        """Begins a round."""
        self.unreadable = 0
        self._found.clear()
        self._detect.append(0.0)
        self._image.append(0.0)

    def look_at(self, data: bytes) -> None:
        try:
            image, split = crop_faces_timed(
                data, self._detector, self._settings, CutSettings(), MAX_PIXELS
            )
        except ImageError:
            self.unreadable += 1
            self._found.append((NO_BOXES, np.empty(0, np.float32)))
            return
        # Haar gives no scores: whatever it finds passes
        scores = [1.0 if crop.score is None else crop.score for crop in image.crops]
        self._found.append((boxes_of(image), np.array(scores, np.float32)))
        self._detect[-1] += split.detect
        self._image[-1] += split.decode + split.detect + split.crop

    def row(self, labelled: Sequence[Boxes] | None, min_score: float | None) -> Row:
        """What it came to, had `min_score` been its lowest score; times are of all it found."""
        kept = [boxes[scores >= (min_score or 0)] for boxes, scores in self._found]
        found, recall, precision = score(kept, labelled)
        milliseconds = 1e3 / max(1, len(self._found) - self.unreadable)
        return Row(
            self._name,
            self._settings.effort.side,
            min_score,
            found,
            recall,
            precision,
            statistics.median(self._detect) * milliseconds,
            statistics.median(self._image) * milliseconds,
        )


def share(value: float | None) -> str:
    """A share for a table; empty where it is not known."""
    return "" if value is None else f"{value:.3f}"

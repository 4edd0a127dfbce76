"""Recall and precision against CPU time: profiles, YuNet's sides and scores, the old algorithm.

What a batch with these settings finds, against the boxes of faces.csv (photo, x, y, w, h in px of
the upright image) in the photos' folder or its parent. A found box is right if it overlaps a
labelled one by an IoU of 0.5; each counts once. One thread; all settings see a photo one after
another, and CPU times are medians over the rounds.

The old algorithm is that of the system before this one, as its authors had it: decode the whole
image, shrink it to at most 1024 px, OpenCV's frontal-face cascade, a padded crop of each face out
of the whole image, 300x300, JPEG.
"""

from __future__ import annotations

import argparse
import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from time import thread_time
from typing import Annotated, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.clock import crop_faces_timed
from benchmarks.padded import padded
from benchmarks.photos import MAX_PIXELS, NO_BOXES, Boxes, read_photos
from benchmarks.report import Column, Report
from benchmarks.rounds import turns
from detection.detectors.haar import Haar
from detection.detectors.overlap import iou
from detection.errors import ImageError
from detection.image import make_detector
from detection.settings import PROFILES, CutSettings, DetectionSettings

MIN_IOU = 0.5
SIDES = (320, 480, 640, 800, 1024)
SCORES = (0.5, 0.6, 0.7, 0.8)
HAAR_SIDE = 1024  # px, longest, at which the old system detected faces, too


@dataclass(frozen=True, slots=True)
class Row:
    """One choice of settings.

    Attributes:
        name: a profile, `yunet`, `haar` or `old algorithm`.
        side: longest, in pixels, of the first detection pass.
        min_score: None for the cascade.
        recall, precision: None without labels, or without a face.
        detect_ms, image_ms: CPU milliseconds an image of the detector, and from bytes to encoded
            crops; medians over the rounds.
        times: images a CPU second over those of the old algorithm.
    """

    name: Annotated[str, Column("")]
    side: Annotated[int, Column("px", "d")]
    min_score: Annotated[float | None, Column("score", "g")]
    found: Annotated[int, Column("found", "d")]
    recall: Annotated[float | None, Column("recall", ".3f")]
    precision: Annotated[float | None, Column("precision", ".3f")]
    detect_ms: Annotated[float, Column("detector", ".1f")]
    image_ms: Annotated[float, Column("CPU ms", ".1f")]
    times: Annotated[float, Column("times", ".1f")]


@dataclass(frozen=True, slots=True)
class _Seen:
    """The faces of one image, their scores, and CPU seconds of the detector and of all."""

    boxes: Boxes
    scores: NDArray[np.float32]
    detect: float
    whole: float


class _Side(Protocol):
    name: str
    side: int
    min_score: float | None

    def crop(self, data: bytes) -> _Seen:
        """Crops all faces of an image file."""


class _Ours:
    def __init__(self, name: str, settings: DetectionSettings) -> None:
        self.name = name
        self.side = settings.passes.side
        self.min_score = None if settings.method == "haar" else settings.passes.min_score
        self._settings = settings
        self._detector = make_detector(settings)

    def crop(self, data: bytes) -> _Seen:
        started = thread_time()
        try:
            image, split = crop_faces_timed(
                data, self._detector, self._settings, CutSettings(), MAX_PIXELS
            )
        except ImageError:
            return _Seen(NO_BOXES, np.empty(0, np.float32), 0.0, thread_time() - started)
        boxes = np.array([crop.box for crop in image.crops], np.float32).reshape(-1, 4)
        scores = np.array([crop.score or 1.0 for crop in image.crops], np.float32)
        return _Seen(boxes, scores, split.detect, split.decode + split.detect + split.crop)


class _Old:
    def __init__(self) -> None:
        self.name = "old algorithm"
        self.side = HAAR_SIDE
        self.min_score: float | None = None
        self._cascade = Haar()

    def crop(self, data: bytes) -> _Seen:
        started = thread_time()
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        if image is None:
            return _Seen(NO_BOXES, np.empty(0, np.float32), 0.0, thread_time() - started)
        height, width = image.shape[:2]
        shrink = min(1.0, self.side / max(height, width))
        small = image
        if shrink < 1:
            small = cv2.resize(image, (round(width * shrink), round(height * shrink)))
        detecting = thread_time()
        found = self._cascade.detect(np.asarray(small, np.uint8))
        detected = thread_time() - detecting
        boxes = found.scaled(1 / shrink, 1 / shrink).boxes
        for _ in padded(image, boxes):
            pass
        scores = np.ones(len(boxes), np.float32)
        return _Seen(boxes, scores, detected, thread_time() - started)


def add_options(_: argparse.ArgumentParser) -> None:
    pass


def run(options: argparse.Namespace) -> Report:
    contents, labels = read_photos(options.photos)
    old = _Old()
    profiles = [_Ours(name, DetectionSettings(profile=name)) for name in PROFILES]
    # A weaker face never displaces a stronger one, so the lowest score's run holds them all.
    yunets = [_Ours("yunet", DetectionSettings(side=side, min_score=min(SCORES))) for side in SIDES]
    haar = _Ours("haar", DetectionSettings(method="haar", side=HAAR_SIDE))
    sides: list[_Side] = [old, *profiles, *yunets, haar]
    for side in sides:
        side.crop(contents[0])  # the first image pays for what is made once
    seen: dict[_Side, list[list[_Seen]]] = defaultdict(list)
    for turn, side in turns(sides, options.rounds * len(contents)):
        number, photo = divmod(turn, len(contents))
        if not photo:
            seen[side].append([])
        seen[side][number].append(side.crop(contents[photo]))
    old_ms = _ms(seen[old], "whole")
    rows = [
        _row(side, seen[side], labels, score, old_ms)
        for side in sides
        for score in (SCORES if side in yunets else [side.min_score])
    ]
    about = (
        f"CPU ms an image of one thread, medians of {options.rounds} rounds in turn; times: images "
        f"a CPU second over the old algorithm's. Recall and precision at IoU {MIN_IOU}."
    )
    return Report(about, {"rows": rows}, {"photos": len(contents), **_labelled(labels)})


def _labelled(labels: Sequence[Boxes] | None) -> dict[str, float | None]:
    """How many labelled faces there are, and how many of them a batch leaves out on purpose."""
    if labels is None:
        return {"labelled": None, "below_min_face": None}
    shorter = np.concatenate(labels)[:, 2:].min(axis=1)
    below = int((shorter < DetectionSettings().min_face).sum())
    return {"labelled": len(shorter), "below_min_face": below}


def _ms(rounds: Sequence[Sequence[_Seen]], part: str) -> float:
    """Mean CPU milliseconds an image, of the median round."""
    sums: list[float] = [sum(getattr(one, part) for one in seen) for seen in rounds]
    return statistics.median(sums) / len(rounds[0]) * 1e3


def _row(
    side: _Side,
    rounds: Sequence[Sequence[_Seen]],
    labels: Sequence[Boxes] | None,
    min_score: float | None,
    old_ms: float,
) -> Row:
    """What it came to, had `min_score` been its lowest score; times are of all it found."""
    boxes = [seen.boxes[seen.scores >= (min_score or 0)] for seen in rounds[-1]]
    found = sum(map(len, boxes))
    recall = precision = None
    if labels is not None:
        right = sum(map(agreeing, boxes, labels))
        labelled = sum(map(len, labels))
        recall = right / labelled if labelled else None
        precision = right / found if found else None
    image_ms = _ms(rounds, "whole")
    return Row(
        side.name,
        side.side,
        min_score,
        found,
        recall,
        precision,
        _ms(rounds, "detect"),
        image_ms,
        old_ms / image_ms,
    )


def agreeing(found: Boxes, labelled: Boxes) -> int:
    """Pairs of found and labelled boxes, both (n, 4), one to one, greedily, the best IoU first."""
    return int(matched(found, labelled).sum())


def matched(found: Boxes, labelled: Boxes) -> NDArray[np.bool_]:
    """Which of the labelled boxes has a found one; as above."""
    overlaps = np.array([iou(box, labelled) for box in found]).reshape(len(found), len(labelled))
    hit = np.zeros(len(labelled), np.bool_)
    while overlaps.size and overlaps.max() >= MIN_IOU:
        row, column = np.unravel_index(np.argmax(overlaps), overlaps.shape)
        overlaps[row, :] = overlaps[:, column] = -1
        hit[column] = True
    return hit

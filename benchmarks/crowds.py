"""Recall by size of face, precision and CPU time on large photographs: crowds and few faces.

The sheets are made of labelled photographs of any folder: `benchmarks.mosaics` says how. Faces
below `min_face` are left out, and whether they are found. A found box is right if it overlaps a
labelled one by an IoU of 0.5; each counts once. The size of a face is the longer side of its box.
`640` is one pass at 640 pixels whatever the picture, the way of the versions before these profiles.
One thread; all sides see a sheet one after another, and CPU times are medians over the rounds.
"""

from __future__ import annotations

import argparse
import statistics
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from time import thread_time
from typing import Annotated

import cv2
import numpy as np

from benchmarks.accuracy import MIN_IOU, agreeing, matched
from benchmarks.mosaics import HEAD_SIDES, LAYOUTS, Photo, few_faces, heads, mosaics
from benchmarks.photos import MAX_PIXELS, Boxes, read_photos
from benchmarks.report import Column, Report
from benchmarks.rounds import turns
from detection.detectors.overlap import iou
from detection.image import crop_faces, make_detector
from detection.settings import PROFILES, CutSettings, DetectionSettings

BEFORE = "640"
SIZES = (48, 96, 192)
"""Where the recalls' sizes of faces end, in pixels."""

_MEGAPIXELS = (12, 24)
_PART = {"all": slice(None), "even": slice(0, None, 2), "odd": slice(1, None, 2)}
_MIN_FACE = 16


@dataclass(frozen=True, slots=True)
class Row:
    """One layout by one profile.

    Attributes:
        recalls: of faces below, between and from the sizes of `SIZES`; None where there is none.
        image_ms: CPU milliseconds a sheet from bytes to encoded crops.
        times: that over the CPU time of one pass at 640 pixels.
    """

    layout: Annotated[str, Column("")]
    profile: Annotated[str, Column("")]
    faces: Annotated[int, Column("faces", "d")]
    recalls: Annotated[list[float | None], Column("recall <48 <96 <192 >", ".2f")]
    recall: Annotated[float, Column("recall", ".3f")]
    precision: Annotated[float | None, Column("precision", ".3f")]
    warned: Annotated[int, Column("small_faces", "d")]
    image_ms: Annotated[float, Column("CPU ms", ".0f")]
    times: Annotated[float, Column("times", ".2f")]


@dataclass(frozen=True, slots=True)
class _Sheet:
    layout: str
    data: bytes
    faces: Boxes


class _Side:
    def __init__(self, name: str, settings: DetectionSettings) -> None:
        self.name = name
        self._settings = settings
        self._detector = make_detector(settings)

    def crop(self, data: bytes) -> tuple[Boxes, bool, float]:
        """The faces found, whether smaller ones may be missing, and CPU seconds."""
        started = thread_time()
        image = crop_faces(data, self._detector, self._settings, CutSettings(), MAX_PIXELS)
        spent = thread_time() - started
        boxes = np.array([crop.box for crop in image.crops], np.float32).reshape(-1, 4)
        return boxes, "small_faces" in image.warnings, spent


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--sheets", type=int, default=2, help="mosaics of each layout (default: %(default)s)"
    )
    parser.add_argument(
        "--part",
        choices=_PART,
        default="all",
        help="photographs that sheets are made of, so that some can be kept aside "
        "(default: %(default)s)",
    )


def run(options: argparse.Namespace) -> Report:
    contents, labels = read_photos(options.photos)
    if labels is None:
        raise SystemExit("These photographs have no labels: faces.csv is to say where faces are.")
    part = _PART[options.part]
    sheets = list(_sheets(_decoded(contents[part], labels[part]), options.sheets))
    sides = [_Side(BEFORE, DetectionSettings(side=640))]
    sides += [_Side(name, DetectionSettings(profile=name)) for name in PROFILES]
    for side in sides:
        side.crop(sheets[0].data)  # the first pays for what is made once
    spent: dict[tuple[str, int], list[float]] = defaultdict(list)
    seen: dict[tuple[str, int], tuple[Boxes, bool]] = {}
    for turn, side in turns(sides, options.rounds * len(sheets)):
        number = turn % len(sheets)
        boxes, warned, seconds = side.crop(sheets[number].data)
        spent[side.name, number].append(seconds)
        seen[side.name, number] = boxes, warned
    ms = {key: statistics.median(each) * 1e3 for key, each in spent.items()}
    rows = []
    for layout in dict.fromkeys(sheet.layout for sheet in sheets):
        these = [number for number, sheet in enumerate(sheets) if sheet.layout == layout]
        before = statistics.mean(ms[BEFORE, number] for number in these)
        for side in sides:
            found = [seen[side.name, number] for number in these]
            mean = statistics.mean(ms[side.name, number] for number in these)
            rows.append(
                _row(layout, side.name, [sheets[one] for one in these], found, mean, before)
            )
    about = (
        f"CPU ms a sheet of one thread, medians of {options.rounds} rounds in turn; times: over "
        f"one pass at 640. Recall by the faces' size in px, and precision, at IoU {MIN_IOU}."
    )
    return Report(about, {"rows": rows}, {"sheets": len(sheets)})


def _decoded(contents: Sequence[bytes], labels: Sequence[Boxes]) -> list[Photo]:
    photos = []
    for data, faces in zip(contents, labels, strict=True):
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        if pixels is not None:
            photos.append(Photo(np.asarray(pixels, np.uint8), faces))
    return photos


def _sheets(photos: Sequence[Photo], count: int) -> Iterator[_Sheet]:
    for layout in LAYOUTS:
        for data, faces in mosaics(photos, layout, count):
            yield _Sheet(layout.name, data, faces)
    largest = max(float(photo.faces[:, 2:].max(initial=0)) for photo in photos)
    for side in HEAD_SIDES:
        if side > largest:  # no face is enlarged
            break
        yield _Sheet(f"100 heads of {side} px", *heads(photos, side))
    for megapixels in _MEGAPIXELS:
        for data, faces in few_faces(photos, megapixels, 4 * count):
            yield _Sheet(f"few faces, {megapixels} MP", data, faces)


def _row(
    layout: str,
    profile: str,
    sheets: Sequence[_Sheet],
    found: Sequence[tuple[Boxes, bool]],
    image_ms: float,
    before_ms: float,
) -> Row:
    labelled, hit, wrong = [], [], 0
    for sheet, (boxes, _) in zip(sheets, found, strict=True):
        wanted = sheet.faces[:, 2:].min(axis=1) >= _MIN_FACE
        faces = sheet.faces[wanted]
        labelled.append(faces[:, 2:].max(axis=1))
        hit.append(matched(boxes, faces))
        right = int(hit[-1].sum())
        wrong += len(boxes) - right - agreeing(_unlike(boxes, faces), sheet.faces[~wanted])
    sizes, hits = np.concatenate(labelled), np.concatenate(hit)
    edges = [0, *SIZES, np.inf]
    recalls = [
        float(hits[(sizes >= low) & (sizes < high)].mean())
        if ((sizes >= low) & (sizes < high)).any()
        else None
        for low, high in pairwise(edges)
    ]
    right = int(hits.sum())
    return Row(
        layout,
        profile,
        len(sizes),
        recalls,
        right / len(sizes),
        right / (right + wrong) if right + wrong else None,
        sum(warned for _, warned in found),
        image_ms,
        image_ms / before_ms,
    )


def _unlike(found: Boxes, labelled: Boxes) -> Boxes:
    """Those of the found boxes that are on none of the labelled ones."""
    apart = [not len(labelled) or iou(box, labelled).max() < MIN_IOU for box in found]
    return found[np.array(apart, np.bool_)]

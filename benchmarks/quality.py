"""What is measured of faces: whether sharpness compares, and what measuring costs.

Faces of the photos, found as a batch does, are shrunk to a half, so that their pixels are as sharp
as any; then blurred, shrunk on, or enlarged again from 40 pixels. Beside it what was recorded
before: the variance of the Laplacian of the face at one size. CPU is that of one image, with the
measuring and with nothing in its place.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from time import thread_time
from typing import Annotated, cast
from unittest.mock import patch

import cv2
import numpy as np

from benchmarks.photos import MAX_PIXELS, Pixels, read_photos
from benchmarks.report import Column, Report
from benchmarks.rounds import turns
from detection import image as pipeline
from detection.codecs.decode import Source
from detection.errors import ImageError
from detection.image import crop_faces, make_detector
from detection.quality import Quality, measure
from detection.settings import CutSettings, DetectionSettings

_LARGE = 200  # px, the shorter side of faces that are taken
_SMALL = 40  # px, from which they are enlarged
_BEFORE_SIDE = 300  # px, that the older measure resized to


@dataclass(frozen=True, slots=True)
class Row:
    """One treatment of all faces.

    Attributes:
        name: what was done to them.
        low, median, high: percentiles 10, 50 and 90 of their sharpness.
        factor: median of the larger over the smaller of this and of the untreated face.
        before: the same factor, of the older measure.
    """

    name: Annotated[str, Column("faces")]
    low: Annotated[float, Column("10 %", ".2f")]
    median: Annotated[float, Column("median", ".2f")]
    high: Annotated[float, Column("90 %", ".2f")]
    factor: Annotated[float, Column("factor", ".2f")]
    before: Annotated[float, Column("before", ".1f")]


def add_options(_: argparse.ArgumentParser) -> None:
    pass


def run(options: argparse.Namespace) -> Report:
    contents, _ = read_photos(options.photos)
    settings, cut = DetectionSettings(), CutSettings()
    detector = make_detector(settings)

    def crop(data: bytes) -> float:
        started = thread_time()
        pipeline.crop_faces(data, detector, settings, cut, MAX_PIXELS)
        return thread_time() - started

    faces = []
    for data in list(contents):
        try:
            image = crop_faces(data, detector, settings, cut, MAX_PIXELS)
            pixels = Source.open(data, MAX_PIXELS).decode()
        except ImageError:
            contents.remove(data)
            continue
        for one in image.crops:
            x, y, w, h = (max(0, round(side)) for side in one.box)
            if min(w, h) >= _LARGE:
                faces.append(_resized(pixels[y : y + h, x : x + w], 0.5))
    sides: dict[str, list[list[float]]] = {"without": [], "with": []}
    for turn, side in turns(list(sides), options.rounds * len(contents)):
        photo = turn % len(contents)
        if not photo:
            sides[side].append([])
        with _unmeasured() if side == "without" else nullcontext():
            sides[side][-1].append(crop(contents[photo]))
    ms = {
        name: sum(map(statistics.median, zip(*rounds, strict=True))) / len(contents) * 1e3
        for name, rounds in sides.items()
    }
    rows = [_row(name, faces, treat) for name, treat in _TREATMENTS.items()] if faces else []
    about = (
        f"Sharpness of faces of {_LARGE} px and more, halved; factor: to the untreated face, "
        f"and before, by the Laplacian's variance at {_BEFORE_SIDE} px."
    )
    figures = {
        "faces": len(faces),
        "image_ms_without": ms["without"],
        "image_ms": ms["with"],
        "times": ms["with"] / ms["without"],
    }
    return Report(about, {"rows": rows}, figures)


@contextmanager
def _unmeasured() -> Iterator[None]:
    nothing = Quality(0.0, 0.0, 0.0)
    with patch.object(pipeline, "measure", lambda *_: nothing):
        yield


def _row(name: str, faces: list[Pixels], treat: Callable[[Pixels], Pixels]) -> Row:
    treated = [treat(face) for face in faces]
    found = [_sharpness(face) for face in treated]
    low, median, high = np.percentile(found, [10, 50, 90])
    return Row(
        name,
        float(low),
        float(median),
        float(high),
        _factor(found, [_sharpness(face) for face in faces]),
        _factor([_before(face) for face in treated], [_before(face) for face in faces]),
    )


def _factor(found: list[float], untreated: list[float]) -> float:
    pairs = zip(found, untreated, strict=True)
    return statistics.median(max(pair) / max(min(pair), 1e-6) for pair in pairs)


def _sharpness(face: Pixels) -> float:
    return measure(face, (0, 0, face.shape[1], face.shape[0]), 1).sharpness


def _before(face: Pixels) -> float:
    grey = cv2.cvtColor(_resized(face, _BEFORE_SIDE / max(face.shape[:2])), cv2.COLOR_BGR2GRAY)
    return float(cv2.Laplacian(grey, cv2.CV_16S).var())


def _resized(pixels: Pixels, scale: float) -> Pixels:
    smooth = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return cast(Pixels, cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=smooth))


def _blurred(sigma: float) -> Callable[[Pixels], Pixels]:
    return lambda face: cast(Pixels, cv2.GaussianBlur(face, (0, 0), sigma))


def _enlarged(times: int) -> Callable[[Pixels], Pixels]:
    return lambda face: _resized(_resized(face, _SMALL / min(face.shape[:2])), times)


_TREATMENTS: Mapping[str, Callable[[Pixels], Pixels]] = {
    "as they are": lambda face: face,
    "at 1/2": lambda face: _resized(face, 0.5),
    "at 1/4": lambda face: _resized(face, 0.25),
    "blurred by 0.7 px": _blurred(0.7),
    "blurred by 1 px": _blurred(1),
    "blurred by 2 px": _blurred(2),
    "blurred by 4 px": _blurred(4),
    "enlarged from 40 to 80 px": _enlarged(2),
    "enlarged from 40 to 160 px": _enlarged(4),
    "at 2/5 of the light": lambda face: np.asarray(face * 0.4, np.uint8),
}

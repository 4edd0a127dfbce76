"""How far apart perceptual hashes are: of one photo in several forms, and of different ones.

Each photo is shrunk as the first pass shrinks it, whatever form it is in. The share is the CPU of
the hash over that of the whole image, hash included.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import thread_time
from typing import Annotated, cast

import cv2
import numpy as np

from benchmarks.photos import MAX_PIXELS, Pixels, read_photos
from benchmarks.report import Column, Report
from detection.errors import ImageError
from detection.image import crop_faces, make_detector
from detection.phash import phash
from detection.settings import CutSettings, DetectionSettings

_HASHES = 20  # of a photo, timed together
_Form = Callable[[Pixels], Pixels]


@dataclass(frozen=True, slots=True)
class Row:
    """One form of all photos, or pairs of different ones.

    Attributes:
        name: what was done to them.
        least, mean, most: bits of 64 in which the hashes differ.
    """

    name: Annotated[str, Column("photos")]
    least: Annotated[int, Column("least")]
    mean: Annotated[float, Column("mean", ".2f")]
    most: Annotated[int, Column("most")]


def add_options(_: argparse.ArgumentParser) -> None:
    pass


def run(options: argparse.Namespace) -> Report:
    contents, _ = read_photos(options.photos)
    settings, cut = DetectionSettings(), CutSettings().spelled_out()
    detector = make_detector(settings)
    hashes: list[int] = []
    apart: dict[str, list[int]] = {name: [] for name in _FORMS}
    image_ms = hash_ms = 0.0
    for data in contents:
        started = thread_time()
        try:
            crop_faces(data, detector, settings, cut, MAX_PIXELS)
        except ImageError:
            continue
        image_ms += (thread_time() - started) * 1e3
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        if pixels is None:
            continue
        first = _first(cast(Pixels, pixels))
        started = thread_time()
        for _ in range(_HASHES):
            own = int(phash(first), 16)
        hash_ms += (thread_time() - started) * 1e3 / _HASHES
        hashes.append(own)
        for name, form in _FORMS.items():
            again = int(phash(_first(form(cast(Pixels, pixels)))), 16)
            apart[name].append((own ^ again).bit_count())
    pairs = [(one ^ other).bit_count() for one, other in itertools.combinations(hashes, 2)]
    rows = [_row(name, bits) for name, bits in {**apart, _DIFFERENT: pairs}.items() if bits]
    figures = {
        "photos": len(hashes),
        "image_ms": image_ms / max(1, len(contents)),
        "hash_ms": hash_ms / max(1, len(hashes)),
        "share": hash_ms / image_ms if image_ms else 0.0,
    }
    return Report("Bits of 64 in which perceptual hashes differ.", {"rows": rows}, figures)


def _row(name: str, bits: list[int]) -> Row:
    return Row(name, min(bits), statistics.fmean(bits), max(bits))


def _first(pixels: Pixels) -> Pixels:
    """Pixels as the first pass has them."""
    share = DetectionSettings().passes.side / max(pixels.shape[:2])
    return pixels if share >= 1 else _resized(pixels, share, cv2.INTER_LINEAR)


def _resized(pixels: Pixels, share: float, how: int = cv2.INTER_AREA) -> Pixels:
    height, width = (max(1, round(side * share)) for side in pixels.shape[:2])
    return cast(Pixels, cv2.resize(pixels, (width, height), interpolation=how))


def _coded(quality: int, share: float = 1, flags: int = cv2.IMREAD_COLOR) -> _Form:
    def form(pixels: Pixels) -> Pixels:
        some = pixels if share == 1 else _resized(pixels, share)
        coded = cv2.imencode(".jpg", some, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        return cast(Pixels, cv2.imdecode(coded, flags))

    return form


def _cut_off(pixels: Pixels) -> Pixels:
    height, width = (max(1, side // 50) for side in pixels.shape[:2])
    return pixels[height:-height, width:-width]


_DIFFERENT = "two different ones"
_FORMS: Mapping[str, _Form] = {
    "decoded at 1/2": _coded(95, flags=cv2.IMREAD_REDUCED_COLOR_2),
    "decoded at 1/4": _coded(95, flags=cv2.IMREAD_REDUCED_COLOR_4),
    "decoded at 1/8": _coded(95, flags=cv2.IMREAD_REDUCED_COLOR_8),
    "coded at quality 50": _coded(50),
    "shrunk to a half": _coded(80, 0.5),
    "shrunk to a quarter": _coded(75, 0.25),
    "brighter": lambda pixels: cast(Pixels, cv2.convertScaleAbs(pixels, alpha=1.1, beta=10)),
    "2 % cut off each side": _cut_off,
}

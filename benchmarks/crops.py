"""CPU time of a crop, by how it is framed, beside the default square.

Each photo is cropped in all ways, one after another, in turns; what counts is the time from the
last detection to the encoded crops, with a finer decoding where a crop needs it. One thread.
"""

from __future__ import annotations

import argparse
import statistics
from collections import defaultdict
from dataclasses import dataclass
from typing import Annotated

from benchmarks.clock import crop_faces_timed
from benchmarks.photos import MAX_PIXELS, read_photos
from benchmarks.report import Column, Report
from benchmarks.rounds import turns
from detection.errors import ImageError
from detection.image import make_detector
from detection.presets import PRESETS
from detection.settings import CutSettings, DetectionSettings

_DEFAULT = "the default"
_WAYS: dict[str, CutSettings] = {
    _DEFAULT: CutSettings(),
    "native pixels": CutSettings(size=0),
    "400 x 300": CutSettings(width=400, height=300),
    "level": CutSettings(align="level"),
    "arcface, 300": CutSettings(align="arcface"),
    "ffhq, 300": CutSettings(align="ffhq"),
    "head, 300": CutSettings(frame="head"),
    "level, mirrored border": CutSettings(align="level", border="reflect"),
    "level, painted border": CutSettings(align="level", border="color"),
    **{name: CutSettings(preset=name).spelled_out() for name in PRESETS if name != "none"},
}


@dataclass(frozen=True, slots=True)
class Row:
    """One way to cut: CPU milliseconds a crop of each round, and the median.

    Attributes:
        times: the median over that of the default.
        megapixels: of a crop, on average.
    """

    way: Annotated[str, Column("")]
    rounds: list[float]
    crop_ms: Annotated[float, Column("CPU ms a crop", ".2f")]
    times: Annotated[float, Column("times", ".2f")]
    megapixels: Annotated[float, Column("Mpx", ".3f")]


def add_options(_: argparse.ArgumentParser) -> None:
    pass


def run(options: argparse.Namespace) -> Report:
    contents, _ = read_photos(options.photos)
    detection = DetectionSettings()
    detector = make_detector(detection)
    spent: dict[str, list[float]] = defaultdict(lambda: [0.0] * options.rounds)
    pixels: dict[str, int] = defaultdict(int)
    crops = 0
    for turn, way in turns(list(_WAYS), options.rounds * len(contents)):
        number, photo = divmod(turn, len(contents))
        try:
            image, split = crop_faces_timed(
                contents[photo], detector, detection, _WAYS[way], MAX_PIXELS
            )
        except ImageError:
            continue
        if image.crops:
            spent[way][number] += split.crop
        if not number:
            pixels[way] += sum(crop.frame.width * crop.frame.height for crop in image.crops)
            crops += len(image.crops) if way == _DEFAULT else 0
    if not crops:
        raise SystemExit("These photos have no faces.")
    medians = {way: statistics.median(spent[way]) / crops * 1e3 for way in _WAYS}
    rows = [
        Row(
            way,
            [seconds / crops * 1e3 for seconds in spent[way]],
            medians[way],
            medians[way] / medians[_DEFAULT],
            pixels[way] / crops / 1e6,
        )
        for way in _WAYS
    ]
    about = f"CPU ms a crop of one thread, medians of {options.rounds} rounds in turn."
    return Report(about, {"rows": rows}, {"photos": len(contents), "crops": crops})

"""A recrop beside cropping the archive anew: CPU seconds of either, and their ratio.

A ZIP of photographs on local disk is cropped once. Then each side makes an output of its own of
it, a batch or a recrop, in turns: the default square and a preset, all faces and the sharpest tenth
of them, one way and three in one pass. CPU is all that the process and those of its images take,
tables and report included; importing and the first batch are not counted.
"""

from __future__ import annotations

import argparse
import statistics
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import numpy as np

from benchmarks.photos import open_photos, pack
from benchmarks.report import Column, Report
from benchmarks.rounds import timed, turns
from pipeline.local import crop
from pipeline.recrop.local import recrop
from pipeline.recrop.settings import RecropSettings
from pipeline.settings import CropSettings
from storage.output.output import Output

_SQUARE: dict[str, Any] = {}
_PRESET = {"preset": "id-35x45"}
_THREE = {"id": _PRESET, "training": {"preset": "dataset-112"}, "web": {"size": 256}}
_WANTED = 0.1  # of the faces
_ANEW, _ANEW_PRESET = "cropped anew, square", "cropped anew, id-35x45"


@dataclass(frozen=True, slots=True)
class Row:
    """One side.

    Attributes:
        crops: that it makes.
        cpu_ms: milliseconds of CPU over the photographs of the archive, median over the rounds.
        times: images a second of CPU, over those of the side that crops anew: of each round, and
            the median; of three ways in one pass, over as many times the preset anew.
    """

    side: Annotated[str, Column("")]
    crops: Annotated[int, Column("crops", ",d")]
    cpu_ms: Annotated[float, Column("CPU ms a photograph", ".2f")]
    rounds: Annotated[list[float], Column("each round", ".2f")]
    times: Annotated[float, Column("times anew", ".2f")]


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--images",
        type=int,
        default=500,
        help="members of the ZIP; photos are repeated under other names (default: %(default)s)",
    )


def run(options: argparse.Namespace) -> Report:
    with open_photos(options.photos) as photos, TemporaryDirectory() as temporary:
        folder = Path(temporary)
        archive, batch = str(folder / "photos.zip"), str(folder / "batch")
        pack(photos, Path(archive), options.images)
        crop(archive, batch)
        known = list(Output(batch).face_rows())
        if not known:
            raise SystemExit("These photos have no faces.")
        sharp = float(np.quantile([face["sharpness"] for face in known], 1 - _WANTED))
        where = f"sharpness > {sharp:.6f}"

        def anew(cut: dict[str, Any], output: str) -> int:
            return crop(archive, output, CropSettings.model_validate({"crop": cut})).faces

        def again(settings: dict[str, Any], output: str) -> int:
            asked = RecropSettings.model_validate(settings)
            return sum(one.faces for one in recrop(batch, output, asked))

        sides: dict[str, Callable[[str], int]] = {
            _ANEW: partial(anew, _SQUARE),
            "square": partial(again, {"crop": _SQUARE}),
            f"square, {_WANTED:.0%} of the faces": partial(again, {"where": where}),
            _ANEW_PRESET: partial(anew, _PRESET),
            "id-35x45": partial(again, {"crop": _PRESET}),
            f"id-35x45, {_WANTED:.0%} of the faces": partial(
                again, {"crop": _PRESET, "where": where}
            ),
            "three ways in one pass": partial(again, {"cuts": _THREE}),
        }
        seconds: dict[str, list[float]] = defaultdict(list)
        crops: dict[str, int] = {}
        for turn, side in turns([*sides], options.rounds):
            crops[side], spent = timed(partial(sides[side], str(folder / f"{turn} {side}")))
            seconds[side].append(spent.cpu)
    rows = []
    for side, took in seconds.items():
        base = [
            one * (3 if "three" in side else 1)
            for one in seconds[_ANEW if "square" in side else _ANEW_PRESET]
        ]
        times = [one / two for one, two in zip(base, took, strict=True)]
        each = 1e3 * statistics.median(took) / options.images
        rows.append(Row(side, crops[side], each, times, statistics.median(times)))
    rows.sort(key=lambda row: [*sides].index(row.side))
    about = f"{options.images} photographs with {len(known)} faces; {options.rounds} rounds."
    return Report(about, {"rows": rows}, {"images": options.images, "faces": len(known)})

"""A folder that grew: extending its batch, beside cropping all of it anew.

The folder holds links to a few photographs, made small, so that what is measured is what Facecrop
itself does with many files: list them, compare them, crop what is new, write the tables again.
CPU seconds are of this process and of the processes for images.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import cv2

from benchmarks.photos import open_photos
from benchmarks.report import Column, Report
from benchmarks.rounds import Spent, timed
from pipeline.local import crop
from pipeline.settings import CropSettings, RunSettings
from pipeline.summary import Summary

_SIDE = 160  # pixels, of the longer side
_FOLDER = 1000  # files in each


@dataclass(frozen=True, slots=True)
class Row:
    """One run of the batch.

    Attributes:
        share: of the CPU seconds of cropping anew.
    """

    what: Annotated[str, Column("")]
    members: Annotated[int, Column("members", ",")]
    cropped: Annotated[int, Column("of them now", ",")]
    wall: Annotated[float, Column("wall s", ".1f")]
    cpu: Annotated[float, Column("CPU s", ".1f")]
    share: Annotated[float, Column("of anew", ".4f")]


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--members", type=int, default=100_000, help="files before (%(default)s)")
    parser.add_argument("--new", type=int, default=100, help="files that come (%(default)s)")


def run(options: argparse.Namespace) -> Report:
    with open_photos(options.photos) as photos, TemporaryDirectory() as place:
        small = _shrunk(photos, Path(place))
        folder, output = Path(place, "folder"), str(Path(place, "out"))
        _grow(folder, small, 0, options.members)
        anew, base = timed(lambda: _crop(folder, output))
        rows = [_row("anew", anew, base, base)]
        have = options.members
        for _ in range(options.rounds):
            _grow(folder, small, have, have + options.new)
            have += options.new
            rows.append(_row("extended", *timed(lambda: _crop(folder, output)), base))
        rows.append(_row("nothing new", *timed(lambda: _crop(folder, output)), base))
    about = f"A local folder of photographs of {_SIDE} pixels, {options.new:,} new each time."
    return Report(about, {"rows": rows})


def _row(what: str, summary: Summary, spent: Spent, base: Spent) -> Row:
    cropped = summary.members - (summary.resumed or 0)
    return Row(what, summary.members, cropped, spent.wall, spent.cpu, spent.cpu / base.cpu)


def _crop(folder: Path, output: str) -> Summary:
    return crop(str(folder), output, CropSettings(run=RunSettings(existing="extend")))


def _shrunk(photos: list[Path], place: Path) -> list[Path]:
    """The photographs, made small."""
    made = []
    for number, photo in enumerate(photos):
        pixels = cv2.imread(str(photo))
        if pixels is not None:
            scale = _SIDE / max(pixels.shape)
            small = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            made.append(place / f"{number}.jpg")
            cv2.imwrite(str(made[-1]), small)
    return made


def _grow(folder: Path, photos: list[Path], first: int, last: int) -> None:
    """Link photographs into a folder, under numbers from `first` on."""
    for number in range(first, last):
        name = folder / f"{number % 97:02d}-{number // _FOLDER:04d}" / f"{number:07d}.jpg"
        name.parent.mkdir(parents=True, exist_ok=True)
        os.link(photos[number % len(photos)], name)

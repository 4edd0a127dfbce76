"""Photos from prompt to prompt: what starting costs, and from which count it is made up for.

Each side is a fresh process, in turn with the others, that reads the same photos and writes crops:
`facecrop crop` and `facecrop.crop` from a ZIP and without a Prefect server, a bare loop of
`detection.crop_faces` and `autocrop.Cropper` in forked processes, and Celery on a worker that is
warm already. --sides names others that people would use instead. CPU seconds are of the process
and its children, and of the workers or the Prefect server that are there before it.

`pip install -r requirements-peers.lock` brings Celery, RQ and MTCNN; Redis is Debian's
`redis-server`. What is not there is left out.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

from benchmarks.photos import open_photos, pack, repeat
from benchmarks.queues import QUEUES, is_there, running
from benchmarks.report import Column, Report
from benchmarks.rounds import Spent, timed, turns
from benchmarks.small_side import SIDES
from infra.servers.prefect import prefect_server
from infra.servers.process import cpu_seconds, descendants
from pipeline.cores import cores

_COMMAND, _BARE = "facecrop crop", "bare loop"
_ON_ZIP = (_COMMAND, "facecrop.crop")
_DEFAULT = [_COMMAND, "facecrop.crop", _BARE, "autocrop pool", "celery"]
_NEEDS = {"mtcnn": ("mtcnn", "tensorflow")}
_PREFECT = "prefect tasks"
_WAIT_SECONDS = 1800


@dataclass(frozen=True, slots=True)
class Row:
    """One side with so many photos, seconds: medians over the rounds, and each as measured.

    Attributes:
        times: wall seconds over those of the bare loop; None without one.
    """

    photos: Annotated[int, Column("photos", ",")]
    side: Annotated[str, Column("")]
    wall: Annotated[float, Column("wall s", ".2f")]
    cpu: Annotated[float, Column("CPU s", ".2f")]
    times: Annotated[float | None, Column("times the bare loop", ".2f")]
    walls: list[float]
    cpus: list[float]


@dataclass(frozen=True, slots=True)
class Ahead:
    """From how many photos on `facecrop crop` is ahead of a side; None: not within these counts."""

    side: Annotated[str, Column("facecrop crop is ahead of")]
    photos: Annotated[int | None, Column("photos, from", ",")]


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--counts",
        type=int,
        nargs="+",
        default=[1, 20, 200, 2000],
        help="photos at a time (default: 1 20 200 2000)",
    )
    parser.add_argument(
        "--sides",
        nargs="+",
        choices=[_COMMAND, *SIDES],
        default=_DEFAULT,
        metavar="SIDE",
        help=f"of {', '.join([_COMMAND, *SIDES])} (default: the first five)",
    )


def run(options: argparse.Namespace) -> Report:
    sides = [side for side in options.sides if _is_there(side)]
    rows: list[Row] = []
    with (
        open_photos(options.photos) as photos,
        TemporaryDirectory() as temporary,
        _queues(sides, Path(temporary), photos) as workers,
    ):
        for count in options.counts:
            place = _lay_out(photos, count, Path(temporary) / str(count))
            spent: dict[str, list[Spent]] = {side: [] for side in sides}
            for turn, side in turns(sides, options.rounds + 1):
                if side == _PREFECT:
                    # one's own: it works on for a while after a batch of a task an image
                    with prefect_server() as server:
                        one = _run(side, place, server.pid)
                else:
                    one = _run(side, place, workers.get(side))
                if turn:  # the first round finds nothing in the caches of the machine
                    spent[side].append(one)
            rows += _rows(count, spent)
    others = [side for side in sides if side != _COMMAND and _COMMAND in sides]
    ahead = [Ahead(side, _ahead_from(rows, side)) for side in others]
    about = f"Medians of {options.rounds} rounds in turn, prompt to prompt."
    return Report(about, {"rows": rows, "ahead": ahead}, {"cores": cores()})


def _rows(photos: int, spent: Mapping[str, Sequence[Spent]]) -> Iterator[Row]:
    medians = {side: statistics.median(one.wall for one in each) for side, each in spent.items()}
    for side, each in spent.items():
        walls, cpus = [one.wall for one in each], [one.cpu for one in each]
        times = medians[side] / medians[_BARE] if _BARE in medians else None
        yield Row(photos, side, medians[side], statistics.median(cpus), times, walls, cpus)


def _ahead_from(rows: Sequence[Row], side: str) -> int | None:
    walls = {(row.side, row.photos): row.wall for row in rows}
    first = None
    for photos in sorted({row.photos for row in rows}, reverse=True):
        if walls[_COMMAND, photos] >= walls[side, photos]:
            break
        first = photos
    return first


def _run(side: str, place: Path, server: int | None = None) -> Spent:
    """Seconds of one process, and the CPU that its worker or server takes meanwhile."""
    output = place / "out"
    photos = place / ("photos.zip" if side in _ON_ZIP else "photos")
    if side == _COMMAND:
        command = [str(Path(sys.executable).with_name("facecrop")), "crop", str(photos)]
        command += ["--output", str(output), "--no-prefect"]
    else:
        output.mkdir()
        command = [sys.executable, "-P", "-m", "benchmarks.small_side", side]
        command += [str(photos), str(output)]
    before = _cpu_of(server)
    done, spent = timed(
        partial(
            subprocess.run,
            command,
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
            capture_output=True,
            text=True,
            timeout=_WAIT_SECONDS,
        )
    )
    if done.returncode not in (0, 3):  # 3: some photos failed
        raise RuntimeError(f"{side} failed:\n{done.stderr[-2000:]}")
    shutil.rmtree(output)
    return Spent(spent.wall, spent.cpu + _cpu_of(server) - before)


def _cpu_of(server: int | None) -> float:
    if server is None:
        return 0.0
    return sum(cpu_seconds(pid) or 0.0 for pid in [server, *descendants(server)])


def _lay_out(photos: Sequence[Path], count: int, place: Path) -> Path:
    """So many photos, repeated under other names where they run out, as a folder and as a ZIP."""
    repeat(photos, place / "photos", count)
    pack(photos, place / "photos.zip", count)
    return place


def _is_there(side: str) -> bool:
    if side in QUEUES:
        return is_there(side)
    return all(find_spec(module) is not None for module in _NEEDS.get(side, ()))


@contextmanager
def _queues(sides: Sequence[str], folder: Path, photos: Sequence[Path]) -> Iterator[dict[str, int]]:
    """Redis and a worker for each queue among the sides: process ids of the workers, warm."""
    with running([side for side in sides if side in QUEUES]) as workers:
        for side in workers:
            # each of its processes loads what it needs with its first photo
            _run(side, _lay_out(photos, 4 * cores(), folder / side))
        yield workers

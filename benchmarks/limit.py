"""The whole flow against a bare loop over the same functions, and where the flow's CPU time goes.

The flow crops a ZIP on local disk to a local output, with a batch's default settings and, as the
`facecrop` command has it, without heartbeats; with --s3 both are on an S3-compatible server,
SeaweedFS, on the same cores as all the rest. The bare loop runs `crop_faces` alone on the same
photos' bytes, in memory already: one thread a core, one detector a thread, no archive, no output,
no Prefect. They take turns. Importing the flow, starting the Prefect server and a first batch of
one photo are not counted.

CPU milliseconds of an image: the bare loop's are split at the detector; what the image's process
takes in the flow beyond them is the cost of its isolation; then the flow's own process (reading,
writing, Prefect's client) and the servers.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import fsspec

from benchmarks.clock import Split, crop_faces_timed
from benchmarks.photos import MAX_PIXELS, open_photos, pack, repeated, resize
from benchmarks.report import Column, Report
from benchmarks.rounds import Spent, timed, turns
from detection.errors import ImageError
from detection.image import make_detector
from detection.settings import CutSettings, DetectionSettings
from infra.servers.prefect import prefect_server
from infra.servers.process import cpu_seconds
from pipeline.cores import cores

_FLOW, _BARE = "whole flow", "bare loop"
_PROCESS = "flow's process"


@dataclass(frozen=True, slots=True)
class Row:
    """One side: images a second, wall time, of each round and the median; CPU, median."""

    side: Annotated[str, Column("")]
    rounds: Annotated[list[float], Column("images/s, each round", ".1f")]
    images_per_second: Annotated[float, Column("median", ".1f")]
    cpu_ms: Annotated[float, Column("CPU ms an image", ".2f")]


@dataclass(frozen=True, slots=True)
class _Round:
    """One run of one side: the faces found, CPU seconds of its parts, and what it took in all."""

    faces: int
    parts: dict[str, float]
    spent: Spent


@dataclass(frozen=True, slots=True)
class Stage:
    """A share of the flow's CPU time, its servers' included; medians over the rounds."""

    stage: Annotated[str, Column("stage")]
    cpu_ms: Annotated[float, Column("CPU ms an image", ".2f")]
    share: Annotated[float, Column("share", ".1%")]


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--images",
        type=int,
        default=1000,
        help="members of the ZIP; photos are repeated under other names (default: %(default)s)",
    )
    parser.add_argument(
        "--s3", action="store_true", help="archive and output on an S3-compatible server"
    )
    parser.add_argument(
        "--megapixels",
        type=float,
        help="make all photos this large, from the largest of them (default: as they are)",
    )


def run(options: argparse.Namespace) -> Report:
    with (
        open_photos(options.photos) as photos,
        TemporaryDirectory() as temporary,
        prefect_server() as server,
        _store(Path(temporary), options.s3) as (store, store_pid),
    ):
        folder = Path(temporary)
        if options.megapixels:
            photos = resize(photos, options.megapixels, folder / "resized")
        for name, members in (("first.zip", 1), ("photos.zip", options.images)):
            pack(photos, folder / name, members)
            if options.s3:
                fsspec.filesystem("s3").put_file(str(folder / name), f"{store}/{name}")
        servers = {"Prefect's server": server.pid} | (
            {"S3 server": store_pid} if options.s3 else {}
        )
        return _measure(store, repeated(photos, options.images), options.rounds, servers)


@contextmanager
def _store(folder: Path, s3: bool) -> Iterator[tuple[str, int]]:
    """Where archive and output are, and the process id of its server, 0 without one."""
    if not s3:
        yield str(folder), 0
        return
    from infra.servers.seaweedfs import seaweedfs

    with seaweedfs(folder / "s3") as served:
        os.environ.update(served.environment)
        yield f"s3://{served.bucket}", served.pid


def _measure(store: str, images: Sequence[bytes], rounds: int, servers: dict[str, int]) -> Report:
    # Prefect is imported here, where its server is known
    from intake.cli.flowrun import crop_in_flow
    from pipeline.settings import CropSettings

    def flow(name: str) -> tuple[int, dict[str, float]]:
        def used() -> dict[str, float]:
            of_servers = {server: cpu_seconds(pid) or 0.0 for server, pid in servers.items()}
            return {_PROCESS: time.process_time()} | of_servers

        before = used()
        output = f"{store}/{name}-{time.monotonic_ns()}"
        faces = crop_in_flow(f"{store}/{name}.zip", output, CropSettings()).faces
        return faces, {part: seconds - before[part] for part, seconds in used().items()}

    flow("first")
    sides = {_FLOW: partial(flow, "photos"), _BARE: partial(_bare, images)}
    done: dict[str, list[_Round]] = {side: [] for side in sides}
    for _, side in turns([*sides], rounds):
        (faces, parts), spent = timed(sides[side])
        done[side].append(_Round(faces, parts, spent))
    if len({one.faces for one in [*done[_FLOW], *done[_BARE]]}) > 1:
        raise RuntimeError(f"The two sides found other faces: {done}.")

    rows = [_row(side, done[side], len(images)) for side in sides]
    stages = _stages(done[_FLOW], done[_BARE], len(images))
    figures = {
        "images": len(images),
        "cores": cores(),
        "ratio": rows[0].images_per_second / rows[1].images_per_second,
        "cpu_ratio": rows[0].cpu_ms / rows[1].cpu_ms,
    }
    return Report(
        "Imports, the server's start and a first batch of one photo are not counted; nor are "
        "servers in the first table.",
        {"sides": rows, "stages": stages},
        figures,
    )


def _row(side: str, rounds: Sequence[_Round], images: int) -> Row:
    rates = [images / one.spent.wall for one in rounds]
    cpu = statistics.median(one.spent.cpu for one in rounds)
    return Row(side, rates, statistics.median(rates), cpu / images * 1e3)


def _stages(flows: Sequence[_Round], bares: Sequence[_Round], images: int) -> list[Stage]:
    seconds = _medians(bares)
    children = statistics.median(one.spent.cpu - one.parts[_PROCESS] for one in flows)
    seconds["isolation"] = children - sum(seconds.values())
    seconds |= _medians(flows)
    total = sum(seconds.values())
    return [Stage(name, spent / images * 1e3, spent / total) for name, spent in seconds.items()]


def _medians(rounds: Sequence[_Round]) -> dict[str, float]:
    return {part: statistics.median(one.parts[part] for one in rounds) for part in rounds[0].parts}


def _bare(images: Iterable[bytes]) -> tuple[int, dict[str, float]]:
    """Crops the images; returns the faces found, and CPU seconds by stage."""
    waiting = iter(images)  # shared: each thread takes the next one
    detection, crop = DetectionSettings(), CutSettings()

    def work(_: int) -> list[tuple[int, Split]]:
        detector = make_detector(detection)
        done = []
        for data in waiting:
            try:
                image, split = crop_faces_timed(data, detector, detection, crop, MAX_PIXELS)
            except ImageError:
                continue  # a row in the flow's manifest, nothing here
            done.append((len(image.crops), split))
        return done

    with ThreadPoolExecutor(cores()) as pool:
        done = [one for each in pool.map(work, range(cores())) for one in each]
    stages = ("decode", "detect", "crop")
    seconds = {stage: sum(getattr(split, stage) for _, split in done) for stage in stages}
    return sum(faces for faces, _ in done), seconds

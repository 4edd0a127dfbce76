"""The whole flow against a bare loop over the same functions.

The flow crops a ZIP on local disk to a local output, with a batch's default settings and, as the
`facecrop` command has it, without heartbeats; with --s3 both are on an S3-compatible server,
SeaweedFS, on the same cores as all the rest. The bare loop runs `crop_faces` alone on the same
photos' bytes, in memory already: one thread a core, one detector a thread, no archive, no output,
no Prefect. They take turns. Importing the flow, starting the Prefect server and a first batch of
one photo are not counted.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import fsspec
from rich.console import Console
from rich.table import Table

from benchmarks.photos import MAX_PIXELS, open_photos, pack, repeated
from benchmarks.process import sandboxes_cpu_seconds
from benchmarks.server import Server, prefect_server
from detection.errors import ImageError
from detection.image import crop_faces, make_detector
from detection.settings import CutSettings, DetectionSettings
from tasks.cores import cores


@dataclass(frozen=True, slots=True)
class Round:
    """One run of one side.

    Attributes:
        wall, cpu: seconds; CPU of this process and those that images are worked on in.
        server_cpu: CPU seconds of Prefect's server meanwhile; None where not known.
        faces: found.
    """

    wall: float
    cpu: float
    server_cpu: float | None
    faces: int


@dataclass(frozen=True, slots=True)
class Result:
    """What was measured. Images a second are medians over the rounds, wall time.

    Attributes:
        images: members of the ZIP, some of them perhaps the same photo.
        threads: of the bare loop, one a core; the flow has as many processes.
        ratio: the flow's images a second over the bare loop's.
        cpu_ratio: the flow's CPU seconds over the bare loop's, medians, without Prefect's server.
        server_cpu_ms: CPU milliseconds an image of Prefect's server during the flow, median; None
            where not known.
        flow_rounds, bare_rounds: each as measured, in turn.
    """

    images: int
    threads: int
    flow_images_per_second: float
    bare_images_per_second: float
    ratio: float
    cpu_ratio: float
    server_cpu_ms: float | None
    flow_rounds: list[Round]
    bare_rounds: list[Round]

    def show(self, console: Console) -> None:
        """Prints it for people."""
        console.print(
            f"{self.images} images, {self.threads} cores, {len(self.flow_rounds)} rounds in "
            "turn. Imports, the server's start and a first batch of one photo are not counted."
        )
        table = Table("", "images/s, each round")
        for title in ("median", "CPU ms an image"):
            table.add_column(title, justify="right")
        for name, rounds in (("whole flow", self.flow_rounds), ("bare loop", self.bare_rounds)):
            table.add_row(
                name,
                ", ".join(f"{self.images / one.wall:.1f}" for one in rounds),
                f"{self.images / _median_wall(rounds):.1f}",
                f"{_median_cpu(rounds) / self.images * 1e3:.2f}",
            )
        table.add_section()
        table.add_row("flow / bare", "", f"{self.ratio:.3f}", f"{self.cpu_ratio:.3f}")
        console.print(table)
        if self.server_cpu_ms is not None:
            console.print(
                f"Apart from that, Prefect's server: {self.server_cpu_ms:.2f} CPU ms an image."
            )


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--images",
        type=int,
        default=1000,
        help="members of the ZIP; photos are repeated under other names (default: %(default)s)",
    )
    parser.add_argument("--rounds", type=int, default=5, help="of each side (default: %(default)s)")
    parser.add_argument(
        "--s3", action="store_true", help="archive and output on an S3-compatible server"
    )
    parser.add_argument(
        "--layout",
        choices=["files", "shards"],
        default="files",
        help="of the output (default: %(default)s)",
    )


def run(options: argparse.Namespace) -> Result:
    with (
        open_photos(options.photos) as photos,
        TemporaryDirectory() as temporary,
        prefect_server() as server,
        _store(Path(temporary), options.s3) as store,
    ):
        for name, members in (("first.zip", 1), ("photos.zip", options.images)):
            archive = Path(temporary) / name
            pack(photos, archive, members)
            if options.s3:
                fsspec.filesystem("s3").put_file(str(archive), f"{store}/{name}")
        images = repeated(photos, options.images)
        return _measure(store, options.layout, images, cores(), options.rounds, server)


@contextmanager
def _store(folder: Path, s3: bool) -> Iterator[str]:
    """Where archive and output are."""
    if not s3:
        yield str(folder)
        return
    from tests.services import seaweedfs

    with seaweedfs(folder / "s3") as served:
        os.environ.update(served.environment)
        yield f"s3://{served.bucket}"


def _measure(
    store: str, layout: str, images: Sequence[bytes], threads: int, rounds: int, server: Server
) -> Result:
    # Prefect is imported here, where its server is known
    from intake.crop import crop_here
    from tasks.settings import CropSettings

    settings = CropSettings.model_validate({"output": {"layout": layout}})

    def flow(archive: str, output: str) -> int:
        return crop_here(f"{store}/{archive}", f"{store}/{output}", settings).faces

    flow("first.zip", "first")
    flows, bares = [], []
    for number in range(rounds):
        flows.append(_time(partial(flow, "photos.zip", f"output-{number}"), server))
        bares.append(_time(partial(_bare, images, threads), server))
    if {one.faces for one in flows} != {one.faces for one in bares}:
        raise RuntimeError(f"The two sides found other faces: {flows}, {bares}.")
    server_cpu = [one.server_cpu for one in flows if one.server_cpu is not None]
    flow_wall, bare_wall = _median_wall(flows), _median_wall(bares)
    return Result(
        len(images),
        threads,
        len(images) / flow_wall,
        len(images) / bare_wall,
        bare_wall / flow_wall,
        _median_cpu(flows) / _median_cpu(bares),
        statistics.median(server_cpu) / len(images) * 1e3 if server_cpu else None,
        flows,
        bares,
    )


def _bare(images: Iterable[bytes], threads: int) -> int:
    """Crops the images; returns the faces found."""
    waiting = iter(images)  # shared: each thread takes the next one
    detection, crop = DetectionSettings(), CutSettings()

    def work(_: int) -> int:
        detector = make_detector(detection)
        faces = 0
        for data in waiting:
            try:
                faces += len(crop_faces(data, detector, detection, crop, MAX_PIXELS).crops)
            except ImageError:
                continue  # a row in the flow's manifest, nothing here
        return faces

    with ThreadPoolExecutor(threads) as pool:
        return sum(pool.map(work, range(threads)))


def _time(side: Callable[[], int], server: Server) -> Round:
    before = server.cpu_seconds()
    wall, cpu = time.perf_counter(), _cpu_seconds()
    faces = side()
    wall, cpu = time.perf_counter() - wall, _cpu_seconds() - cpu
    after = server.cpu_seconds()
    server_cpu = None if before is None or after is None else after - before
    return Round(wall, cpu, server_cpu, faces)


def _cpu_seconds() -> float:
    return time.process_time() + sandboxes_cpu_seconds()


def _median_wall(rounds: Iterable[Round]) -> float:
    return statistics.median(one.wall for one in rounds)


def _median_cpu(rounds: Iterable[Round]) -> float:
    return statistics.median(one.cpu for one in rounds)

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
from benchmarks.process import cpu_seconds, sandboxes_cpu_seconds
from benchmarks.server import prefect_server
from detection.errors import ImageError
from detection.image import crop_faces, make_detector
from detection.settings import CutSettings, DetectionSettings
from tasks.cores import cores


@dataclass(frozen=True, slots=True)
class Round:
    """One run of one side.

    Attributes:
        wall, cpu: seconds; CPU of this process and those that images are worked on in.
        server_cpu, store_cpu: CPU seconds of Prefect's server and of the S3-compatible one
            meanwhile; None where not known, or where there is none.
        faces: found.
    """

    wall: float
    cpu: float
    server_cpu: float | None
    store_cpu: float | None
    faces: int


@dataclass(frozen=True, slots=True)
class Result:
    """What was measured. Images a second are medians over the rounds, wall time.

    Attributes:
        images: members of the ZIP, some of them perhaps the same photo.
        threads: of the bare loop, one a core; the flow has as many processes.
        ratio: the flow's images a second over the bare loop's.
        cpu_ratio: the flow's CPU seconds over the bare loop's, medians, without Prefect's server.
        server_cpu_ms, store_cpu_ms: CPU milliseconds an image of Prefect's server and of the
            S3-compatible one during the flow, medians; None where not known, or without one.
        flow_rounds, bare_rounds: each as measured, in turn.
    """

    images: int
    threads: int
    flow_images_per_second: float
    bare_images_per_second: float
    ratio: float
    cpu_ratio: float
    server_cpu_ms: float | None
    store_cpu_ms: float | None
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
        for name, spent in (("Prefect's", self.server_cpu_ms), ("the S3", self.store_cpu_ms)):
            if spent is not None:
                console.print(f"Apart from that, {name} server: {spent:.2f} CPU ms an image.")


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
        _store(Path(temporary), options.s3) as (store, store_pid),
    ):
        for name, members in (("first.zip", 1), ("photos.zip", options.images)):
            archive = Path(temporary) / name
            pack(photos, archive, members)
            if options.s3:
                fsspec.filesystem("s3").put_file(str(archive), f"{store}/{name}")
        images = repeated(photos, options.images)
        servers = (server.pid, store_pid)
        return _measure(store, options.layout, images, cores(), options.rounds, servers)


@contextmanager
def _store(folder: Path, s3: bool) -> Iterator[tuple[str, int]]:
    """Where archive and output are, and the process id of its server, 0 without one."""
    if not s3:
        yield str(folder), 0
        return
    from tests.services import seaweedfs

    with seaweedfs(folder / "s3") as served:
        os.environ.update(served.environment)
        yield f"s3://{served.bucket}", served.pid


def _measure(
    store: str,
    layout: str,
    images: Sequence[bytes],
    threads: int,
    rounds: int,
    servers: tuple[int, int],
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
        flows.append(_time(partial(flow, "photos.zip", f"output-{number}"), servers))
        bares.append(_time(partial(_bare, images, threads), servers))
    if {one.faces for one in flows} != {one.faces for one in bares}:
        raise RuntimeError(f"The two sides found other faces: {flows}, {bares}.")
    flow_wall, bare_wall = _median_wall(flows), _median_wall(bares)
    return Result(
        len(images),
        threads,
        len(images) / flow_wall,
        len(images) / bare_wall,
        bare_wall / flow_wall,
        _median_cpu(flows) / _median_cpu(bares),
        _median_ms(len(images), [one.server_cpu for one in flows]),
        _median_ms(len(images), [one.store_cpu for one in flows]),
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


def _time(side: Callable[[], int], servers: tuple[int, int]) -> Round:
    before = [cpu_seconds(pid) for pid in servers]
    wall, cpu = time.perf_counter(), _cpu_seconds()
    faces = side()
    wall, cpu = time.perf_counter() - wall, _cpu_seconds() - cpu
    after = [cpu_seconds(pid) for pid in servers]
    of_prefect, of_store = (
        None if old is None or new is None else new - old
        for old, new in zip(before, after, strict=True)
    )
    return Round(wall, cpu, of_prefect, of_store, faces)


def _cpu_seconds() -> float:
    return time.process_time() + sandboxes_cpu_seconds()


def _median_wall(rounds: Iterable[Round]) -> float:
    return statistics.median(one.wall for one in rounds)


def _median_cpu(rounds: Iterable[Round]) -> float:
    return statistics.median(one.cpu for one in rounds)


def _median_ms(images: int, seconds: Iterable[float | None]) -> float | None:
    known = [value for value in seconds if value is not None]
    return statistics.median(known) / images * 1e3 if known else None

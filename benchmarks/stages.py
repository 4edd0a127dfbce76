"""Where the CPU time of a batch goes, image by image.

Runs the whole flow, on all cores, over a ZIP of the photos on local disk to a local output, with
clocks around the pipeline's own functions. They read the CPU time of their thread; what remains of
the process is Prefect's client side, and its server is a process of its own. Images are worked on
in other processes: how their time is shared between decoding, detecting and cropping is measured on
the same photos without them, on as many threads, and what they take beyond that is the cost of
being apart. Both take turns. Importing the flow, starting the server and a first batch of one photo
are not counted.

The floor is what no program can do without, by the same libraries: each photo decoded once, at the
coarsest reduction that its crops or, without any, the detector need; the network run once at the
detector's size; each crop encoded.
"""

from __future__ import annotations

import argparse
import statistics
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial, wraps
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ParamSpec, TypeVar
from unittest.mock import patch

import onnxruntime
from rich.console import Console
from rich.table import Table

from benchmarks.clock import crop_faces_timed
from benchmarks.photos import MAX_PIXELS, open_photos, pack, repeated, resize
from benchmarks.process import sandboxes_cpu_seconds
from benchmarks.server import Server, prefect_server
from detection.crop import encode
from detection.decode import Source
from detection.errors import ImageError
from detection.image import make_detector
from detection.settings import CutSettings, DetectionSettings
from storage.output import Output
from storage.zip import ZipArchive
from tasks.cores import cores

P = ParamSpec("P")
T = TypeVar("T")

_ABOUT = {
    "read": "archive member: read, inflate, CRC",
    "decode": "header, decode, shrink",
    "detect": "detector",
    "crop": "finer decode, cut, encode",
    "apart": "to the image's process and back, hash",
    "write": "crops and parts, with fsync",
    "rest": "rows, encoding of parts",
    "tables": "plan and finish",
    "prefect": "Prefect and the report, here",
    "server": "Prefect server's process",
}
_IN_IMAGE = ("decode", "detect", "crop")
_OUTERMOST = "outermost"


@dataclass(frozen=True, slots=True)
class Round:
    """One run of each side.

    Attributes:
        cpu_ms: mean CPU milliseconds an image, by stage.
        floor_ms: mean CPU milliseconds an image that decoding, inference and encoding must take.
        wall: seconds of the flow.
    """

    cpu_ms: dict[str, float]
    floor_ms: dict[str, float]
    wall: float


@dataclass(frozen=True, slots=True)
class Result:
    """What was measured.

    Attributes:
        images: members of the ZIP, some of them perhaps the same photo.
        megapixels: that the photos were made; None as they are.
        threads: images worked on at once.
        cpu_ms, floor_ms: as in the rounds, medians.
        total_ms, total_floor_ms: their sums.
        ratio: of these two.
        server_known: False where the system does not tell the server's CPU time; it is 0 then.
        images_per_second: of the flow, wall time, median.
        rounds: each as measured.
    """

    images: int
    megapixels: float | None
    threads: int
    cpu_ms: dict[str, float]
    floor_ms: dict[str, float]
    total_ms: float
    total_floor_ms: float
    ratio: float
    server_known: bool
    images_per_second: float
    rounds: list[Round]

    def show(self, console: Console) -> None:
        """Prints it for people."""
        console.print(
            f"{self.images} images, {self.threads} cores, {self.images_per_second:.1f} images/s, "
            f"{len(self.rounds)} rounds. Imports, the server's start and a first batch of one "
            "photo are not counted."
        )
        table = Table("stage", "what")
        for title in ("CPU ms an image", "share", "floor"):
            table.add_column(title, justify="right")
        for stage, value in self.cpu_ms.items():
            known = stage != "server" or self.server_known
            share = f"{value / self.total_ms:.1%}"
            floor = f"{self.floor_ms[stage]:.2f}" if stage in self.floor_ms else ""
            table.add_row(
                stage,
                _ABOUT[stage],
                *((f"{value:.2f}", share) if known else ("unknown", "")),
                floor,
            )
        table.add_section()
        table.add_row("total", "", f"{self.total_ms:.2f}", "", f"{self.total_floor_ms:.2f}")
        console.print(table)
        console.print(f"{self.ratio:.2f} times the floor.")


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--images",
        type=int,
        default=500,
        help="members of the ZIP; photos are repeated under other names (default: %(default)s)",
    )
    parser.add_argument("--rounds", type=int, default=5, help="of each side (default: %(default)s)")
    parser.add_argument(
        "--megapixels",
        type=float,
        help="make all photos this large, from the largest of them (default: as they are)",
    )


def run(options: argparse.Namespace) -> Result:
    with (
        open_photos(options.photos) as photos,
        TemporaryDirectory() as temporary,
        prefect_server() as server,
    ):
        folder = Path(temporary)
        if options.megapixels:
            photos = resize(photos, options.megapixels, folder / "resized")
        pack(photos, folder / "first.zip", 1)
        pack(photos, folder / "photos.zip", options.images)
        contents = repeated(photos, options.images)
        # Prefect is imported here, where its server is known
        from intake.crop import crop_here
        from tasks.settings import CropSettings

        crop_here(str(folder / "first.zip"), str(folder / "first"), CropSettings())
        rounds = []
        for number in range(options.rounds):
            output = str(folder / str(number))
            flow = partial(crop_here, str(folder / "photos.zip"), output, CropSettings())
            rounds.append(_round(flow, contents, server))
        return _result(rounds, len(contents), options.megapixels, server.cpu_seconds() is not None)


def _result(
    rounds: list[Round], images: int, megapixels: float | None, server_known: bool
) -> Result:
    cpu_ms = _medians([one.cpu_ms for one in rounds])
    floor_ms = _medians([one.floor_ms for one in rounds])
    total, floor = sum(cpu_ms.values()), sum(floor_ms.values())
    return Result(
        images,
        megapixels,
        cores(),
        cpu_ms,
        floor_ms,
        total,
        floor,
        total / floor,
        server_known,
        images / statistics.median(one.wall for one in rounds),
        rounds,
    )


def _medians(rounds: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {stage: statistics.median(one[stage] for one in rounds) for stage in rounds[0]}


def _round(flow: Callable[[], object], contents: Sequence[bytes], server: Server) -> Round:
    clock = _Clock()
    server_before = server.cpu_seconds() or 0.0
    with clock.everywhere():
        wall, process, children = time.perf_counter(), time.process_time(), sandboxes_cpu_seconds()
        flow()
        wall, process = time.perf_counter() - wall, time.process_time() - process
        children = sandboxes_cpu_seconds() - children
    server_after = server.cpu_seconds() or 0.0

    of_images, floor = _of_images(contents)
    spent = clock.seconds
    told = sum(spent[stage] for stage in ("read", "apart", "write", "tables"))
    seconds = {
        "read": spent["read"],
        **of_images,
        "apart": spent["apart"] + children - sum(of_images.values()),
        "write": spent["write"],
        "rest": spent[_OUTERMOST] - told,
        "tables": spent["tables"],
        "prefect": process - spent[_OUTERMOST],
        "server": server_after - server_before,
    }
    cpu_ms, floor_ms = (
        {stage: value / len(contents) * 1e3 for stage, value in each.items()}
        for each in (seconds, floor)
    )
    return Round(cpu_ms, floor_ms, wall)


def _of_images(contents: Sequence[bytes]) -> tuple[dict[str, float], dict[str, float]]:
    """CPU seconds of all images by stage, and of what of it cannot be left out."""
    waiting = iter(contents)  # shared: each thread takes the next one
    clock, floor = _Clock(), _Clock()
    detection, cut = DetectionSettings(), CutSettings()
    decode = floor.whole("decode", Source.decode)

    def work(_: int) -> None:
        detector = make_detector(detection)
        for data in waiting:
            try:
                image, split = crop_faces_timed(data, detector, detection, cut, MAX_PIXELS)
                source = Source.open(data, MAX_PIXELS)
                needed = detection.effort.side / max(source.width, source.height)
                if image.crops:
                    finest = cut.size / min(crop.square.side for crop in image.crops)
                    needed = max(needed, finest)
                decode(source, source.reduction_for(needed))
            except ImageError:
                continue
            for stage in _IN_IMAGE:
                clock.add(stage, getattr(split, stage))

    network = floor.whole("detect", onnxruntime.InferenceSession.run)
    with (
        patch.object(onnxruntime.InferenceSession, "run", network),
        patch("detection.image.encode", floor.whole("crop", encode)),
        ThreadPoolExecutor(cores()) as pool,
    ):
        for _ in pool.map(work, range(cores())):
            pass
    of_images, least = (
        {stage: each.seconds[stage] for stage in _IN_IMAGE} for each in (clock, floor)
    )
    return of_images, least


class _Clock:
    """CPU seconds of the threads that the clocked functions run in, by stage.

    Those of functions that no other clocked one has called make up _OUTERMOST.
    """

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._lock = threading.Lock()
        self._here = threading.local()

    def add(self, stage: str, seconds: float) -> None:
        """Counts seconds of a stage. Thread-safe."""
        with self._lock:
            self.seconds[stage] += seconds

    def everywhere(self) -> ExitStack:
        """Clocks around the pipeline's functions, for as long as the stack is open."""
        from detection import sandbox
        from tasks import batch, crop_chunk, finish

        stack = ExitStack()
        for stage, owner, name in [
            ("read", ZipArchive, "read"),
            ("member", crop_chunk, "crop_members"),
        ]:
            clocked = self._each(stage, getattr(owner, name))
            stack.enter_context(patch.object(owner, name, clocked))
        for stage, owner, name in [
            ("write", Output, "put_crops"),
            ("write", Output, "put_part"),
            ("chunk", crop_chunk.detect_and_crop, "fn"),
            ("apart", sandbox, "send"),
            ("apart", sandbox, "receive"),
            ("apart", sandbox, "from_reply"),
            ("tables", batch.plan, "fn"),
            ("tables", finish.finish, "fn"),
        ]:
            stack.enter_context(patch.object(owner, name, self.whole(stage, getattr(owner, name))))
        return stack

    def whole(self, stage: str, function: Callable[P, T]) -> Callable[P, T]:
        """The function, with a clock around it."""

        @wraps(function)
        def clocked(*args: P.args, **kwargs: P.kwargs) -> T:
            with self._running(stage):
                return function(*args, **kwargs)

        return clocked

    def _each(self, stage: str, function: Callable[P, Iterator[T]]) -> Callable[P, Iterator[T]]:
        @wraps(function)
        def clocked(*args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
            values = function(*args, **kwargs)
            while True:
                with self._running(stage):
                    some = list(islice(values, 1))
                if not some:
                    return
                yield from some

        return clocked

    @contextmanager
    def _running(self, stage: str) -> Iterator[None]:
        outermost = not getattr(self._here, "inside", False)
        self._here.inside = True
        started = time.thread_time()
        try:
            yield
        finally:
            spent = time.thread_time() - started
            self.add(stage, spent)
            if outermost:
                self._here.inside = False
                self.add(_OUTERMOST, spent)

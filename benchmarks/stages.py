"""Where the CPU time of a batch goes, image by image.

Runs the whole flow once, one image at a time, over a ZIP of the photos on local disk to a local
output, with clocks around the pipeline's own functions. They read the CPU time of their thread;
what remains of the process is Prefect's client side, and its server is a process of its own. Images
are worked on in another process: how its time is shared between decoding, detecting and cropping is
measured on the same photos without it, and what it takes beyond them is the cost of being apart.
Importing the flow, starting the server and a first batch of one photo are not counted.

The floor is what no program can do without, by the same libraries: each photo decoded once, at the
coarsest reduction that its crops or, without any, the detector need; the network run once at the
detector's size; each crop encoded.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import wraps
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
from detection.image import crop_faces, make_detector
from detection.settings import CutSettings, DetectionSettings
from storage.output import Output
from storage.zip import ZipArchive

P = ParamSpec("P")
T = TypeVar("T")

_IN_CHUNK = {
    "read": "archive member: read, inflate, CRC",
    "decode": "header, decode, shrink",
    "detect": "detector",
    "crop": "finer decode, cut, encode",
    "apart": "to the image's process and back",
    "write": "crops and parts, with fsync",
}
_IN_IMAGE = ("decode", "detect", "crop")
_ABOUT = {
    **_IN_CHUNK,
    "rest": "hash, rows, encoding of parts",
    "tables": "plan and finish",
    "prefect": "Prefect in this process",
    "server": "Prefect server's process",
}


@dataclass(frozen=True, slots=True)
class Result:
    """What was measured.

    Attributes:
        images: members of the ZIP, some of them perhaps the same photo.
        megapixels: that the photos were made; None as they are.
        floor_ms: mean CPU milliseconds an image that decoding, inference and encoding must take.
        cpu_ms: mean CPU milliseconds an image, by stage.
        total_ms: their sum.
        server_known: False where the system does not tell the server's CPU time; it is 0 then.
        images_per_second: of the flow, wall time, one thread.
    """

    images: int
    megapixels: float | None
    cpu_ms: dict[str, float]
    floor_ms: dict[str, float]
    total_ms: float
    server_known: bool
    images_per_second: float

    def show(self, console: Console) -> None:
        """Prints it for people."""
        console.print(
            f"{self.images} images, one thread, {self.images_per_second:.1f} images/s. Imports, "
            "the server's start and a first batch of one photo are not counted."
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
        least = sum(self.floor_ms.values())
        table.add_row("total", "", f"{self.total_ms:.2f}", "", f"{least:.2f}")
        console.print(table)
        console.print(f"{self.total_ms / least:.2f} times the floor.")


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--images",
        type=int,
        default=500,
        help="members of the ZIP; photos are repeated under other names (default: %(default)s)",
    )
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
        return _measure(folder, contents, options.megapixels, server)


def _measure(
    folder: Path, contents: Sequence[bytes], megapixels: float | None, server: Server
) -> Result:
    # Prefect is imported here, where its server is known
    from flows.crop_archive import crop_archive
    from tasks.settings import CropSettings, RunSettings

    settings = CropSettings(run=RunSettings(threads=1))
    crop_archive(str(folder / "first.zip"), str(folder / "first"), settings)
    clock = _Clock()
    server_before = server.cpu_seconds()
    with clock.everywhere():
        wall, process, children = time.perf_counter(), time.process_time(), sandboxes_cpu_seconds()
        crop_archive(str(folder / "photos.zip"), str(folder / "photos"), settings)
        wall, process = time.perf_counter() - wall, time.process_time() - process
        children = sandboxes_cpu_seconds() - children
    server_after = server.cpu_seconds()

    spent = clock.seconds
    chunks = spent["chunk"] + spent["member"]
    seconds = {stage: spent[stage] for stage in _IN_CHUNK} | _of_images(contents)
    handed_over = spent["apart"]
    seconds["apart"] = handed_over + children - sum(seconds[stage] for stage in _IN_IMAGE)
    seconds["rest"] = chunks - spent["read"] - spent["write"] - handed_over
    seconds["tables"] = spent["tables"]
    seconds["prefect"] = process - chunks - spent["tables"]
    server_known = server_before is not None and server_after is not None
    seconds["server"] = (server_after or 0.0) - (server_before or 0.0)
    images = len(contents)
    cpu_ms = {stage: value / images * 1e3 for stage, value in seconds.items()}
    return Result(
        images,
        megapixels,
        cpu_ms,
        _floor(contents),
        sum(cpu_ms.values()),
        server_known,
        images / wall,
    )


def _of_images(contents: Sequence[bytes]) -> dict[str, float]:
    """CPU seconds of all images by stage, on the calling thread."""
    seconds = dict.fromkeys(_IN_IMAGE, 0.0)
    detection, cut = DetectionSettings(), CutSettings()
    detector = make_detector(detection)
    for data in contents:
        try:
            _, split = crop_faces_timed(data, detector, detection, cut, MAX_PIXELS)
        except ImageError:
            continue
        for stage in _IN_IMAGE:
            seconds[stage] += getattr(split, stage)
    return seconds


def _floor(contents: Sequence[bytes]) -> dict[str, float]:
    """CPU milliseconds an image of what cannot be left out, on the calling thread."""
    clock = _Clock()
    detection, cut = DetectionSettings(), CutSettings()
    detector = make_detector(detection)
    runs = patch.object(
        onnxruntime.InferenceSession,
        "run",
        clock.whole("detect", onnxruntime.InferenceSession.run),
    )
    encodes = patch("detection.image.encode", clock.whole("crop", encode))
    decode = clock.whole("decode", Source.decode)
    with runs, encodes:
        for data in contents:
            try:
                source = Source.open(data, MAX_PIXELS)
                image = crop_faces(data, detector, detection, cut, MAX_PIXELS)
                needed = detection.effort.side / max(source.width, source.height)
                if image.crops:
                    finest = cut.size / min(crop.square.side for crop in image.crops)
                    needed = max(needed, finest)
                decode(source, source.reduction_for(needed))
            except ImageError:
                continue
    return {stage: value / len(contents) * 1e3 for stage, value in clock.seconds.items()}


class _Clock:
    """CPU seconds of the threads that the clocked functions run in, by stage."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)

    def everywhere(self) -> ExitStack:
        """Clocks around the pipeline's functions, for as long as the stack is open."""
        from tasks import batch, crop_chunk, crop_member, finish

        stack = ExitStack()
        stack.enter_context(patch.object(ZipArchive, "read", self._each("read", ZipArchive.read)))
        for stage, owner, name in [
            ("write", Output, "put_crops"),
            ("write", Output, "put_part"),
            ("chunk", crop_chunk.detect_and_crop, "fn"),
            ("member", crop_chunk, "crop_member"),
            ("apart", crop_member, "crop_faces_apart"),
            ("tables", batch.plan, "fn"),
            ("tables", finish.finish, "fn"),
        ]:
            clocked = self.whole(stage, getattr(owner, name))
            stack.enter_context(patch.object(owner, name, clocked))
        return stack

    def whole(self, stage: str, function: Callable[P, T]) -> Callable[P, T]:
        """The function, with a clock around it."""

        @wraps(function)
        def clocked(*args: P.args, **kwargs: P.kwargs) -> T:
            started = time.thread_time()
            try:
                return function(*args, **kwargs)
            finally:
                self.seconds[stage] += time.thread_time() - started

        return clocked

    def _each(self, stage: str, function: Callable[P, Iterator[T]]) -> Callable[P, Iterator[T]]:
        @wraps(function)
        def clocked(*args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
            values = function(*args, **kwargs)
            while True:
                started = time.thread_time()
                try:
                    value = next(values)
                except StopIteration:
                    return
                finally:
                    self.seconds[stage] += time.thread_time() - started
                yield value

        return clocked

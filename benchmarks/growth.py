"""How speed, memory and the finish step grow with a batch and a second worker; a million members.

Batches of small photos (a face in 200 x 200 pixels), or of those of --photos, on local disk through
the deployment `crop-archive/process`, by one worker and by two in turn, of one slot and one thread
a run. Then an archive of a million members is planned in a fresh process.

Images a second are from the start of the batch's run to its end. "Steady" is while every worker
crops: with one from the first part to the last, with two while the second one has a shard. CPU is
that of the workers, from their start to their end. Memory is the most that a process of their runs
had. What a batch leaves in Prefect's database (SQLite) is counted when its workers have ended.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sqlite3
import statistics
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import chain
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import pyarrow.parquet as pq

from benchmarks.photos import open_photos, pack, write_astronaut
from benchmarks.report import Column, Report
from benchmarks.rounds import now, turns
from benchmarks.server import ended, last_part, process_worker, register, shards_of, submit, written
from infra.servers.prefect import prefect_server
from infra.servers.process import descendants, memory
from intake.http.crops_zip import stream_zip
from storage.output.layout import MANIFEST

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

MIB = 1 << 20
_SIDE = 200  # px
_PERIOD_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Batch:
    """Batches of one size by as many workers: medians over the rounds.

    Attributes:
        steady: images a second while every worker crops; None where that never was.
        finish: seconds of the last step, which makes the tables from the parts.
        database_kib: that Prefect's database has grown by.
    """

    images: Annotated[int, Column("images", ",")]
    workers: Annotated[int, Column("workers", "d")]
    rate: Annotated[float, Column("images/s", ".1f")]
    steady: Annotated[float | None, Column("steady", ".1f")]
    cpu_ms: Annotated[float, Column("CPU ms", ".2f")]
    peak_mib: Annotated[float, Column("peak MiB", ".0f")]
    finish: Annotated[float, Column("finish, s", ".2f")]
    database_kib: Annotated[float, Column("server KiB", ",.0f")]


@dataclass(frozen=True, slots=True)
class Planning:
    """An archive that was planned: opened, its index read, its output claimed, its chunks written.

    Attributes:
        mib: memory of the process at its peak, above what it had before.
    """

    members: Annotated[int, Column("members planned", ",")]
    shards: Annotated[int, Column("shards", ",")]
    seconds: Annotated[float, Column("seconds", ".2f")]
    cpu: Annotated[float, Column("CPU s", ".2f")]
    mib: Annotated[float, Column("MiB", ".0f")]


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--sizes",
        type=int,
        nargs="+",
        default=[1_000, 10_000, 100_000],
        help="images of the batches (default: 1000 10000 100000)",
    )
    parser.add_argument(
        "--members", type=int, default=1_000_000, help="to plan (default: %(default)s)"
    )


def run(options: argparse.Namespace) -> Report:
    batches = []
    with TemporaryDirectory() as temporary, ExitStack() as stack:
        folder = Path(temporary)
        planning = _plan_members(folder / "members.zip", options.members)
        photos = [folder / "astronaut.jpg"]
        write_astronaut(photos[0], _SIDE)
        if options.photos:
            photos = stack.enter_context(open_photos(options.photos))
        stack.enter_context(prefect_server())
        register()
        for images in options.sizes:
            archive = folder / f"{images}.zip"
            pack(photos, archive, images)
            rounds: dict[int, list[Batch]] = defaultdict(list)
            for _, workers in turns((1, 2), options.rounds):
                rounds[workers].append(_crop(archive, images, workers))
            batches += [_median(rounds[workers]) for workers in (1, 2)]
            archive.unlink()
    about = f"Medians of {options.rounds} rounds in turn, one thread a worker."
    return Report(about, {"batches": batches, "planning": [planning]})


def _median(rounds: Sequence[Batch]) -> Batch:
    def middle(value: Callable[[Batch], float | None]) -> float:
        return statistics.median(one for one in map(value, rounds) if one is not None)

    return Batch(
        rounds[0].images,
        rounds[0].workers,
        middle(lambda one: one.rate),
        middle(lambda one: one.steady) if any(one.steady for one in rounds) else None,
        middle(lambda one: one.cpu_ms),
        middle(lambda one: one.peak_mib),
        middle(lambda one: one.finish),
        middle(lambda one: one.database_kib),
    )


def _crop(archive: Path, images: int, workers: int) -> Batch:
    from pipeline.settings import CropSettings, RunSettings

    # at least two shards a worker, or there is nothing to share
    members = min(10_000, max(100, images // 4))
    settings = CropSettings(run=RunSettings(threads=1, shard_members=members))
    output = archive.with_name(f"{images}-{workers}-{time.monotonic_ns()}")
    cpu, database = _cpu_of_ended(), _database_kib()
    with ExitStack() as stack:
        pids = [
            stack.enter_context(process_worker(f"worker-{output.name}-{worker}"))
            for worker in range(workers)
        ]
        peak = stack.enter_context(_peak(pids))
        parameters = {
            "archive": str(archive),
            "output": str(output),
            "settings": settings.model_dump(mode="json"),
            "work_pool": "process",
        }
        (planning,) = ended([submit("crop-archive/process", parameters)])
    shards = shards_of(planning)
    finish = written(output, MANIFEST) - last_part(output)
    began, over = _span(planning)
    steady = _steady(output, [_span(shard) for shard in shards] if workers > 1 else None)
    shutil.rmtree(output)  # ten times 100,000 crops are too many for many a disk
    return Batch(
        images,
        workers,
        images / (over - began),
        steady,
        (_cpu_of_ended() - cpu) / images * 1e3,
        peak.bytes / MIB,
        finish,
        _database_kib() - database,
    )


def _cpu_of_ended() -> float:
    """CPU seconds of the processes that this one has started and that have ended, and of theirs."""
    used = os.times()
    return used.children_user + used.children_system


def _span(run: FlowRun) -> tuple[float, float]:
    """When a run that has ended began and ended, in seconds since the epoch."""
    assert run.start_time is not None
    assert run.end_time is not None
    return run.start_time.timestamp(), run.end_time.timestamp()


def _steady(output: Path, windows: Sequence[tuple[float, float]] | None) -> float | None:
    """Images a second in windows of time that do not overlap, by the times of the parts.

    Args:
        output: of the batch, on local disk.
        windows: in seconds since the epoch; they are cut at the first part and the last, and None
            is all between these. A part counts at its end, so where a window does not begin with
            a worker's first image, its parts are on average half too many and half too few.
    """
    parts = [
        (path.stat().st_mtime, pq.read_metadata(path).num_rows)
        for path in (output / "parts").glob("*.parquet")
    ]
    times = [when for when, _ in parts]
    first, last = min(times), max(times)
    spans = [(max(began, first), min(over, last)) for began, over in windows or [(first, last)]]
    seconds = sum(max(over - began, 0.0) for began, over in spans)
    images = sum(n for when, n in parts if any(began < when <= over for began, over in spans))
    return images / seconds if seconds else None


def _database_kib() -> float:
    """What Prefect's database, which is SQLite's default file, has in use."""
    database = Path(os.environ["PREFECT_HOME"]) / "prefect.db"
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
        size, pages, free = (
            int(connection.execute(f"PRAGMA {name}").fetchone()[0])
            for name in ("page_size", "page_count", "freelist_count")
        )
    return (pages - free) * size / 1024


def _plan_members(archive: Path, members: int) -> Planning:
    """Plans a ZIP of tiny members in a fresh process; planning does not see what is in them."""
    names = (f"album-{number // 1000:04d}/member-{number:07d}.txt" for number in range(members))
    with archive.open("wb") as file:
        file.writelines(stream_zip((name, b"text") for name in names))
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        planning = process.submit(_plan, archive).result()
    archive.unlink()
    return planning


def _plan(archive: Path) -> Planning:
    from pipeline.batch import plan
    from pipeline.settings import CropSettings
    from tasks.shards import plan_shards

    Path("/proc/self/clear_refs").write_text("5")  # proc(5): the peak is what is used now
    used, before = memory(os.getpid(), "VmRSS"), now()
    planned = plan_shards(plan(str(archive), f"{archive} output", CropSettings()))
    spent, peak = now() - before, memory(os.getpid(), "VmHWM") - used
    return Planning(planned.members, len(planned.shards), spent.wall, spent.cpu, peak / MIB)


@dataclass
class _Peak:
    bytes: int = 0
    over: threading.Event = field(default_factory=threading.Event)


@contextmanager
def _peak(parents: list[int]) -> Iterator[_Peak]:
    """The most memory that a process below some others has, by proc(5)."""
    peak = _Peak()

    def watch() -> None:
        while not peak.over.wait(_PERIOD_SECONDS):
            for pid in chain.from_iterable(map(descendants, parents)):
                with suppress(OSError):  # it has just ended
                    peak.bytes = max(peak.bytes, memory(pid, "VmHWM"))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield peak
    finally:
        peak.over.set()
        watcher.join()

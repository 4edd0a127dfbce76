"""How speed, memory and the finish step grow with a batch, and the planning of a million.

Batches of small photos (a face in 200 x 200 pixels) on local disk, through the deployment
`crop-archive/process` by one worker and by two in turn, of one slot and one thread a run. A
worker's memory is the most that any of its runs' processes had; images a second are from the start
of the batch's run to its end; CPU is that of the workers, from their start to their end. Then an
archive of a million members is planned in a fresh process.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import UUID

from rich.console import Console
from rich.table import Table

from benchmarks.million import MIB, Planning, plan_in_fresh_process
from benchmarks.photos import pack, write_astronaut
from benchmarks.process import descendants, memory
from benchmarks.server import ended, prefect_server, process_worker, register, submit
from benchmarks.synthetic import write_zip

_SIDE = 200  # px
_LOOK_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Round:
    """One batch.

    Attributes:
        seconds: from the start of its run to its end.
        cpu: seconds of the workers and all their processes.
        finish_seconds: of its last step, which makes the tables from the parts.
        mib: the most that a process of its runs had in memory.
    """

    seconds: float
    cpu: float
    finish_seconds: float
    mib: float


@dataclass(frozen=True, slots=True)
class Batch:
    """Batches of one size by as many workers: medians over the rounds, and each as measured."""

    images: int
    workers: int
    seconds: float
    cpu: float
    finish_seconds: float
    mib: float
    rounds: list[Round]


@dataclass(frozen=True, slots=True)
class Result:
    """What was measured."""

    batches: list[Batch]
    planning: Planning

    def show(self, console: Console) -> None:
        """Prints it for people."""
        table = Table("images")
        for title in (
            "workers",
            "images/s",
            "CPU ms",
            "peak MiB",
            "finish, s",
            "of the batch",
            "µs an image",
        ):
            table.add_column(title, justify="right")
        for batch in self.batches:
            table.add_row(
                f"{batch.images:,}",
                str(batch.workers),
                f"{batch.images / batch.seconds:.1f}",
                f"{batch.cpu / batch.images * 1e3:.2f}",
                f"{batch.mib:.0f}",
                f"{batch.finish_seconds:.2f}",
                f"{batch.finish_seconds / batch.seconds:.1%}",
                f"{batch.finish_seconds / batch.images * 1e6:.0f}",
            )
        console.print(table)
        plan = self.planning
        console.print(f"Medians of {len(self.batches[0].rounds)} rounds.")
        console.print(
            f"{plan.members:,} members planned in {plan.seconds:.1f} s with {plan.mib:.0f} MiB."
        )


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--sizes",
        type=int,
        nargs="+",
        default=[1_000, 10_000, 100_000],
        help="images of the batches (default: %(default)s)",
    )
    parser.add_argument(
        "--rounds", type=int, default=5, help="of each batch (default: %(default)s)"
    )
    parser.add_argument(
        "--members", type=int, default=1_000_000, help="to plan (default: %(default)s)"
    )


def run(options: argparse.Namespace) -> Result:
    batches = []
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_zip(folder / "million.zip", options.members)
        planning = plan_in_fresh_process(folder / "million.zip")
        (folder / "million.zip").unlink()
        write_astronaut(folder / "astronaut.jpg", _SIDE)
        with prefect_server():
            register()
            for images in options.sizes:
                archive = folder / f"{images}.zip"
                pack([folder / "astronaut.jpg"], archive, images)
                rounds: dict[int, list[Round]] = {1: [], 2: []}
                for number in range(options.rounds):
                    for workers, before in rounds.items():
                        before.append(_crop(archive, images, workers, number))
                batches += [_medians(images, workers, each) for workers, each in rounds.items()]
                archive.unlink()
    return Result(batches, planning)


def _medians(images: int, workers: int, rounds: list[Round]) -> Batch:
    return Batch(
        images,
        workers,
        statistics.median(one.seconds for one in rounds),
        statistics.median(one.cpu for one in rounds),
        statistics.median(one.finish_seconds for one in rounds),
        statistics.median(one.mib for one in rounds),
        rounds,
    )


def _crop(archive: Path, images: int, workers: int, number: int) -> Round:
    from tasks.settings import CropSettings, RunSettings

    # at least two shards a worker, or there is nothing to share
    members = min(10_000, max(100, images // 4))
    settings = CropSettings(run=RunSettings(threads=1, shard_members=members))
    output = archive.with_name(f"{images}-{workers}-{number}")
    cpu = _cpu_of_ended()
    with ExitStack() as stack:
        pids = [
            stack.enter_context(process_worker(f"worker-{output.name}-{worker}"))
            for worker in range(workers)
        ]
        peak = stack.enter_context(_peak(pids))
        batch = submit(
            "crop-archive/process",
            {
                "archive": str(archive),
                "output": str(output),
                "settings": settings.model_dump(mode="json"),
                "work_pool": "process",
            },
        )
        (planning,) = ended([batch])
    assert planning.start_time is not None
    assert planning.end_time is not None
    seconds = (planning.end_time - planning.start_time).total_seconds()
    shutil.rmtree(output)  # ten times 100,000 crops are too many for many a disk
    return Round(seconds, _cpu_of_ended() - cpu, _finish_seconds(batch), peak.bytes / MIB)


def _cpu_of_ended() -> float:
    """CPU seconds of the processes that this one has started and that have ended, and of theirs."""
    used = os.times()
    return used.children_user + used.children_system


def _finish_seconds(batch: UUID) -> float:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import (
        FlowRunFilter,
        FlowRunFilterId,
        TaskRunFilter,
        TaskRunFilterName,
    )

    with get_client(sync_client=True) as client:
        (finish,) = client.read_task_runs(
            flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[batch])),
            task_run_filter=TaskRunFilter(name=TaskRunFilterName(like_="finish")),
        )
    return finish.total_run_time.total_seconds()


@dataclass
class _Peak:
    bytes: int = 0
    over: threading.Event = field(default_factory=threading.Event)


@contextmanager
def _peak(parents: list[int]) -> Iterator[_Peak]:
    """The most memory that a process below some others has, by proc(5)."""
    peak = _Peak()

    def watch() -> None:
        while not peak.over.wait(_LOOK_SECONDS):
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

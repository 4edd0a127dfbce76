"""Two workers against one, and what a shard costs.

A ZIP of photos on local disk is cropped to a local output on a process work pool, by workers of one
slot each that give a run one thread. The run that plans a batch crops shards, too: with one worker
it does everything, with two the other worker takes shards from it. Both take turns. Server, workers
and deployments are there before a batch is submitted, but each run starts in a process of its own.

"Whole" is from the submission to the batch's end, with the starts of all those processes, and the
polling before them. "Steady" is by the times of the parts, and only while every worker crops: from
the planning run's first part to its last, and with two workers within that from the start to the
last part of each shard on the other worker.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from benchmarks.overhead import FEW, MANY, SHARE, Cost, Meter, Overhead, measure_overhead
from benchmarks.photos import open_photos, pack
from benchmarks.server import ended, prefect_server, process_worker, register, submit


@dataclass(frozen=True, slots=True)
class Part:
    """A chunk that is done: its images, and when, in seconds since the epoch."""

    began: float
    committed: float
    images: int


@dataclass(frozen=True, slots=True)
class Round:
    """One batch.

    Attributes:
        whole: seconds from submission to the end.
        first_part: seconds from submission to the first part of the planning run.
        steady: seconds in which every worker cropped.
        steady_images: done in them; a part that is partly within them counts in part.
        elsewhere: shards that the planning run did not crop.
    """

    workers: int
    whole: float
    first_part: float
    steady: float
    steady_images: float
    elsewhere: int


@dataclass(frozen=True, slots=True)
class Result:
    """What was measured.

    Attributes:
        images, shards: of the ZIP.
        rounds: each batch, in turn.
        whole_ratio, steady_ratio: images a second of two workers over those of one, medians.
        overhead_images: of the ZIP that the overhead was measured with.
        overheads: for each way to start a run.
        idle: CPU seconds a second of a worker and the server with nothing to do.
        shard_members: how large a shard is by default.
    """

    images: int
    shards: int
    rounds: list[Round]
    whole_ratio: float
    steady_ratio: float
    overhead_images: int
    overheads: list[Overhead]
    idle: Cost
    shard_members: int

    def show(self, console: Console) -> None:
        """Prints it for people."""
        console.print(
            f"{self.images} images in {self.shards} shards, one thread a worker. Whole: from "
            "submission to end, starts of processes included. Steady: while every worker crops."
        )
        table = Table("workers")
        for title in ("whole, images/s", "steady, images/s", "steady", "first part", "elsewhere"):
            table.add_column(title, justify="right")
        for one in self.rounds:
            table.add_row(
                str(one.workers),
                f"{self.images / one.whole:.1f}",
                f"{one.steady_images / one.steady:.1f}",
                f"for {one.steady:.1f} s",
                f"after {one.first_part:.1f} s",
                f"{one.elsewhere} shards",
            )
        table.add_section()
        table.add_row("2 / 1", f"{self.whole_ratio:.3f}", f"{self.steady_ratio:.3f}")
        console.print(table)
        table = Table("CPU seconds of a shard")
        for title in ("worker", "server", "submission", "all", "rounds", f"{SHARE:.0%} with"):
            table.add_column(title, justify="right")
        for over in self.overheads:
            cost = over.shard
            table.add_row(
                over.start,
                *(f"{part:.2f}" for part in (cost.worker, cost.server, cost.submit, cost.total)),
                ", ".join(f"{one:.2f}" for one in over.rounds),
                f"{over.shard_images:,} images",
            )
        console.print(table)
        deployed = self.overheads[0]
        at_default = deployed.shard.total / (deployed.image * self.shard_members)
        console.print(
            f"Apart from its images, by {self.overhead_images} images in {FEW} and in {MANY} "
            f"shards; an image costs {deployed.image * 1e3:.1f} CPU ms. A shard of the default "
            f"{self.shard_members:,} members has {at_default:.1%} of overhead. With nothing to do "
            f"a worker uses {self.idle.worker:.1%} of a core, the server {self.idle.server:.1%}."
        )


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--images",
        type=int,
        default=2000,
        help="members of the ZIP; photos are repeated under other names (default: %(default)s)",
    )
    parser.add_argument(
        "--shards", type=int, default=4, help="that the ZIP is cut into (default: %(default)s)"
    )
    parser.add_argument(
        "--overhead-images",
        type=int,
        default=1000,
        help="members of the ZIP that the overhead is measured with (default: %(default)s)",
    )
    parser.add_argument("--rounds", type=int, default=3, help="of each side (default: %(default)s)")
    parser.add_argument(
        "--command",
        action="store_true",
        help="measure the overhead also with the job variable `command` set, which has a run "
        "started without Prefect's workspace supervisor",
    )


def run(options: argparse.Namespace) -> Result:
    with (
        open_photos(options.photos) as photos,
        TemporaryDirectory() as temporary,
        prefect_server() as server,
    ):
        folder = Path(temporary)
        pack(photos, folder / "photos.zip", options.images)
        pack(photos, folder / "small.zip", options.overhead_images)
        register()
        from tasks.settings import RunSettings

        starts: dict[str, dict[str, str]] = {"as deployed": {}}
        if options.command:
            starts["command set"] = {"command": f"{sys.executable} -m prefect.engine"}
        with process_worker("first") as worker:
            batch = _Batch(folder / "photos.zip", math.ceil(options.images / options.shards))
            rounds = []
            for number in range(options.rounds):
                rounds.append(batch.crop(f"one-{number}", 1))
                with process_worker(f"second-{number}"):
                    rounds.append(batch.crop(f"two-{number}", 2))
            meter = Meter(worker, server)
            overheads = measure_overhead(
                folder / "small.zip", options.overhead_images, starts, options.rounds, meter
            )
    return Result(
        options.images,
        len(batch.shards),
        rounds,
        _ratio(rounds, lambda one: 1 / one.whole),
        _ratio(rounds, lambda one: one.steady_images / one.steady),
        options.overhead_images,
        overheads,
        meter.idle,
        RunSettings().shard_members,
    )


class _Batch:
    """A batch to be cropped again and again.

    Attributes:
        shards: numbers of the chunks in each.
    """

    def __init__(self, archive: Path, shard_members: int) -> None:
        from storage.plan import decode_chunks
        from tasks.batch import plan
        from tasks.settings import CropSettings, RunSettings
        from tasks.shards import plan_shards

        self._archive = archive
        self._settings = CropSettings(run=RunSettings(threads=1, shard_members=shard_members))
        # a plan follows from the archive and the settings: what holds here holds in each round
        batch = plan.fn(str(archive), str(archive.with_name("plan")), self._settings)
        self.shards = {
            shard.number: {chunk.number for chunk in decode_chunks(batch.output.plan(shard.number))}
            for shard in plan_shards(batch).shards
        }

    def crop(self, name: str, workers: int) -> Round:
        from prefect.client.orchestration import get_client
        from prefect.client.schemas.filters import (
            FlowRunFilter,
            FlowRunFilterParentFlowRunId,
            FlowRunFilterState,
            FlowRunFilterStateName,
        )

        output = self._archive.with_name(name)
        submitted = time.time()
        batch = submit(
            "crop-archive/process",
            {
                "archive": str(self._archive),
                "output": str(output),
                "settings": self._settings.model_dump(mode="json"),
            },
        )
        (planning,) = ended([batch])
        assert planning.end_time is not None
        whole = planning.end_time.timestamp() - submitted
        wanted = FlowRunFilter(
            parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[planning.id]),
            state=FlowRunFilterState(name=FlowRunFilterStateName(any_=["Completed"])),
        )
        with get_client(sync_client=True) as client:
            runs = client.read_flow_runs(flow_run_filter=wanted)

        done = _commits(output)
        parts, windows = [], []
        for run in runs:
            assert run.start_time is not None
            began = run.start_time.timestamp()
            parts += _parts(
                began, [done.pop(chunk) for chunk in self.shards[run.parameters["shard"]]]
            )
            windows.append((began, parts[-1].committed))
        here = _parts(submitted, list(done.values()))
        first, last = here[0].committed, here[-1].committed
        windows = [(max(began, first), min(over, last)) for began, over in windows]
        seconds, images = steady([*parts, *here], windows if workers > 1 else [(first, last)])
        return Round(workers, whole, first - submitted, seconds, images, len(runs))


def steady(parts: Iterable[Part], windows: Iterable[tuple[float, float]]) -> tuple[float, float]:
    """Seconds in some windows of time that do not overlap, and the images done in them.

    Raises:
        RuntimeError: there are none.
    """
    held = [(first, last) for first, last in windows if first < last]
    if not held:
        raise RuntimeError("There was no time when every worker cropped: take more --images.")
    images = 0.0
    for part, (first, last) in product(parts, held):
        within = min(part.committed, last) - max(part.began, first)
        images += part.images * max(within, 0.0) / (part.committed - part.began)
    return sum(last - first for first, last in held), images


def _parts(began: float, commits: list[tuple[float, int]]) -> list[Part]:
    """The parts of one run, which did one chunk after the other from `began` on."""
    commits.sort()
    starts = [began, *(committed for committed, _ in commits)]
    return [Part(start, *commit) for start, commit in zip(starts, commits, strict=False)]


def _commits(output: Path) -> dict[int, tuple[float, int]]:
    """When each chunk's part was written, and its images."""
    return {
        int(path.stem): (path.stat().st_mtime, pq.read_metadata(path).num_rows)
        for path in (output / "parts").glob("*.parquet")
    }


def _ratio(rounds: Sequence[Round], rate: Callable[[Round], float]) -> float:
    one, two = (
        statistics.median(rate(each) for each in rounds if each.workers == workers)
        for workers in (1, 2)
    )
    return two / one

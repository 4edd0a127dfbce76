"""A million members: what planning costs, and the rows on the Prefect server.

Planned in a fresh process, on local disk and without a server: the archive is opened, its index
read, its output claimed, and every chunk cut and written to the plan of its shard. The members are
tiny, which planning does not see.

The rows are counted with small batches whose members are skipped, and scaled to the million, in
chunks and shards as they were planned. Then a server prunes them, once they are made old enough.
"""

from __future__ import annotations

import argparse
import os
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.table import Table

from benchmarks.process import memory
from benchmarks.rows import PRUNING, Rows, fit, prune, run_batches
from benchmarks.synthetic import write_tar, write_zip

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Planning:
    """An archive that was planned.

    Attributes:
        seconds, cpu_seconds: of opening it, reading its index, and writing the plan of each shard.
        mib: memory of the process at its peak, above what it had before.
    """

    kind: str
    members: int
    chunks: int
    shards: int
    seconds: float
    cpu_seconds: float
    mib: float


@dataclass(frozen=True, slots=True)
class Result:
    """What was measured.

    Attributes:
        plans: the ZIP's first.
        batch_members: of the larger of the batches whose rows were counted.
        hours: that the runs of a batch of all members take, all together.
        rows: by table, what a chunk, a shard, an hour and a batch leave.
        all_rows: the same of a batch of all members.
        before, after: rows by table around the pruning.
    """

    plans: list[Planning]
    batch_members: int
    hours: float
    rows: dict[str, Rows]
    all_rows: dict[str, int]
    before: dict[str, int]
    after: dict[str, int]

    def show(self, console: Console) -> None:
        """Prints it for people."""
        table = Table("planned")
        for title in ("members", "chunks", "shards", "seconds", "CPU s", "MiB"):
            table.add_column(title, justify="right")
        for plan in self.plans:
            numbers = (plan.members, plan.chunks, plan.shards)
            times = (plan.seconds, plan.cpu_seconds)
            table.add_row(
                plan.kind,
                *(f"{number:,}" for number in numbers),
                *(f"{seconds:.2f}" for seconds in times),
                f"{plan.mib:.0f}",
            )
        console.print(table)
        plan = self.plans[0]
        console.print(
            f"Rows on the server, by batches of up to {self.batch_members:,} members; for "
            f"{plan.members:,} in {plan.chunks:,} chunks and {plan.shards} shards, with "
            f"{self.hours:.1f} hours of runs. ±: the most that a batch was off."
        )
        table = Table()
        table.add_column("table", no_wrap=True)
        for title in ("a chunk", "a shard", "an hour", "a batch", "±", "all"):
            table.add_column(title, justify="right", no_wrap=True)
        for name, rows in self.rows.items():
            parts = (rows.chunk, rows.shard, rows.hour, rows.batch, rows.error)
            table.add_row(
                name, *(f"{round(part, 1) + 0.0:,}" for part in parts), f"{self.all_rows[name]:,}"
            )
        console.print(table)
        table = Table("after pruning")
        for title in ("before", "left"):
            table.add_column(title, justify="right")
        for name, before in self.before.items():
            if name in self.rows or before != self.after[name]:
                table.add_row(name, f"{before:,}", f"{self.after[name]:,}")
        console.print(table)
        console.print(
            "Pruned with " + " ".join(f"{name}={value}" for name, value in PRUNING.items())
        )


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--members", type=int, default=1_000_000, help="to plan (default: %(default)s)"
    )
    parser.add_argument("--tar", action="store_true", help="plan a plain TAR, too: 1 KiB a member")
    parser.add_argument(
        "--batch-members",
        type=int,
        default=20_000,
        help="of the larger of the batches whose rows are counted (default: %(default)s)",
    )
    parser.add_argument(
        "--image-ms",
        type=float,
        default=25.0,
        help="that a run takes for an image, for the hours of the million (default: %(default)s)",
    )


def run(options: argparse.Namespace) -> Result:
    writers = {"zip": write_zip} | ({"tar": write_tar} if options.tar else {})
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        plans = []
        for kind, write in writers.items():
            archive = folder / f"million.{kind}"
            write(archive, options.members)
            plans.append(plan_in_fresh_process(archive))
            archive.unlink()
        sizes = (options.batch_members // 2, options.batch_members)
        archives = {members: folder / f"{members}.zip" for members in sizes}
        for members, archive in archives.items():
            write_zip(archive, members)
        database = folder / "prefect.db"
        rows = fit(run_batches(archives, database))
        before, after = prune(database)
    hours = options.members * options.image_ms / 3.6e6
    return Result(
        plans,
        options.batch_members,
        hours,
        rows,
        {name: one.of(plans[0].chunks, plans[0].shards, hours) for name, one in rows.items()},
        before,
        after,
    )


def plan_in_fresh_process(archive: Path) -> Planning:
    """Plans an archive, and says what it took."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(_plan, archive).result()


def _plan(archive: Path) -> Planning:
    from tasks.batch import plan
    from tasks.settings import CropSettings
    from tasks.shards import plan_shards

    Path("/proc/self/clear_refs").write_text("5")  # proc(5): the peak is what is used now
    before, began, used = memory(os.getpid(), "VmRSS"), time.perf_counter(), time.process_time()
    batch = plan.fn(str(archive), f"{archive} output", CropSettings())
    planned = plan_shards(batch)
    seconds, used = time.perf_counter() - began, time.process_time() - used
    return Planning(
        batch.archive.kind,
        planned.members,
        planned.chunks,
        len(planned.shards),
        seconds,
        used,
        (memory(os.getpid(), "VmHWM") - before) / MIB,
    )

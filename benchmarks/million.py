"""One archive of a million small photographs by two workers, for real: only with --run.

On PostgreSQL and Redis. At a quarter of the way one worker is killed with all that it has started,
half way another is added. The photographs have 256 x 192 pixels. It takes most of an hour,
and many gigabytes.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count, islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import pyarrow.parquet as pq

from benchmarks.photos import open_photos, resize
from benchmarks.report import Column, Report
from benchmarks.server import ended, process_worker, production, submit
from infra.servers.process import descendants, memory
from infra.servers.stack import Stack
from intake.http.crops_zip import stream_zip
from pipeline.cores import cores
from storage.output.output import Output

if TYPE_CHECKING:
    from prefect.client.schemas.objects import TaskRun

_MIB = 1 << 20
_MEGAPIXELS = 256 * 192 / 1e6
_TENTHS = 10
_DEPLOYMENT = "crop-archive/process"


@dataclass(frozen=True, slots=True)
class Tenth:
    """A tenth of the images, by when their parts were written.

    Attributes:
        run, server, services, workers: MiB at the end of it (Pss in proc(5)), of the workers'
            runs with their processes for images, of Prefect's two, and of the workers.
    """

    images: Annotated[int, Column("images", ",")]
    rate: Annotated[float, Column("images/s", ".1f")]
    run: Annotated[float, Column("runs MiB", ".0f")]
    server: Annotated[float, Column("server MiB", ".0f")]
    services: Annotated[float, Column("services MiB", ".0f")]
    workers: Annotated[float, Column("workers MiB", ".0f")]


@dataclass(frozen=True, slots=True)
class Step:
    """What comes once a batch."""

    step: Annotated[str, Column("")]
    seconds: Annotated[float, Column("seconds", ".1f")]


@dataclass(frozen=True, slots=True)
class Rows:
    """A table of Prefect's database when all is done."""

    table: Annotated[str, Column("table")]
    rows: Annotated[int, Column("rows", ",")]


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--run", action="store_true", help="yes, for an hour")
    parser.add_argument("--images", type=int, default=1_000_000)


def run(options: argparse.Namespace) -> Report:
    if not options.run:
        raise SystemExit("This takes most of an hour and tens of gigabytes: say --run.")
    with (
        open_photos(options.photos) as photos,
        production() as (stack, folder),
        ExitStack() as workers,
    ):
        small = resize(photos, _MEGAPIXELS, folder / "photos")
        archive, output = folder / "million.zip", folder / "out"
        _write(archive, [one.read_bytes() for one in small], options.images)
        pids = [workers.enter_context(process_worker(name)) for name in ("one", "other")]
        parameters = {"archive": str(archive), "output": str(output), "work_pool": "process"}
        run = submit(_DEPLOYMENT, parameters)
        watch = workers.enter_context(_watched(stack, output, pids))
        watch.wait_for(options.images // 4)
        for pid in [pids[0], *descendants(pids[0])]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        watch.wait_for(options.images // 2)
        status = _status(str(run))
        pids.append(workers.enter_context(process_worker("added")))
        ended([run], poll_seconds=5)
        steps = [
            *(Step(task.name.rpartition("-")[0] or task.name, _took(task)) for task in _tasks(run)),
            Step("status in the middle", status),
            Step("status at the end", _status(str(run))),
        ]
        totals = Output(str(output)).totals()
        figures: dict[str, float | None] = {
            "cores": cores(),
            "archive_mib": archive.stat().st_size / _MIB,
            "output_mib": sum(one.stat().st_size for one in output.rglob("*") if one.is_file())
            / _MIB,
            "report_mib": (output / "report.html").stat().st_size / _MIB,
            "database_mib": asyncio.run(_database(stack, _SIZE))[0][1] / _MIB,
            "images_lost": options.images - totals.members,
            "faces": totals.faces,
        }
        tables = [Rows(*row) for row in asyncio.run(_database(stack, _ROWS))]
        tenths = list(_tenths(output, options.images, watch))
    about = f"{options.images:,} images; a worker killed at a quarter, one added half way."
    return Report(about, {"tenths": tenths, "steps": steps, "database": tables}, figures)


def _write(archive: Path, contents: list[bytes], images: int) -> None:
    names = (f"{number // 1000:04d}/{number:07d}.jpg" for number in count())
    members = ((name, contents[at % len(contents)]) for at, name in enumerate(names))
    with archive.open("wb") as file:
        file.writelines(stream_zip(islice(members, images)))


@dataclass
class _Watch:
    """Parts that are there, and memory, over time."""

    output: Path
    samples: list[tuple[float, float, float, float, float]] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def wait_for(self, images: int) -> None:
        """Wait until so many images are in parts, by the size of a usual one."""
        while True:
            parts = list((self.output / "parts").glob("*.parquet"))
            if parts and len(parts) * pq.read_metadata(parts[0]).num_rows >= images:
                return
            time.sleep(1)


@contextmanager
def _watched(stack: Stack, output: Path, workers: list[int]) -> Iterator[_Watch]:
    watch = _Watch(output)

    def look() -> None:
        while not watch.over.wait(5):
            runs = [one for pid in workers for one in descendants(pid)]
            groups = (runs, [stack.server.pid], [stack.services.pid], list(workers))
            held = [sum(map(_pss, group)) / _MIB for group in groups]
            watch.samples.append((time.time(), *held))  # type: ignore[arg-type]

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield watch
    finally:
        watch.over.set()
        thread.join()


def _pss(pid: int) -> int:
    with suppress(OSError):  # it has ended
        return memory(pid, "Pss", "smaps_rollup")
    return 0


def _tenths(output: Path, images: int, watch: _Watch) -> Iterator[Tenth]:
    parts = sorted(
        (path.stat().st_mtime, pq.read_metadata(path).num_rows)
        for path in (output / "parts").glob("*.parquet")
    )
    began, done, since = parts[0][0], 0, 0
    for when, rows in parts:
        done += rows
        if done >= images * (1 + since // (images // _TENTHS)) / _TENTHS or when == parts[-1][0]:
            held = min(watch.samples, key=lambda one: abs(one[0] - when))[1:]
            yield Tenth(done - since, (done - since) / max(when - began, 1e-9), *held)
            began, since = when, done


def _status(batch: str) -> float:
    """Seconds of `facecrop status`, prompt to prompt."""
    command = [sys.executable, "-P", "-m", "facecrop", "status", batch, "--json"]
    began = time.monotonic()
    subprocess.run(command, check=False, capture_output=True)
    return time.monotonic() - began


def _tasks(run: object) -> list[TaskRun]:
    """The plan, the finish and the report of a batch."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import (
        FlowRunFilter,
        FlowRunFilterId,
        TaskRunFilter,
        TaskRunFilterName,
    )

    mine = FlowRunFilter(id=FlowRunFilterId(any_=[run]))
    with get_client(sync_client=True) as client:
        return [
            task
            for name in ("plan", "finish", "report")
            for task in client.read_task_runs(
                flow_run_filter=mine,
                task_run_filter=TaskRunFilter(name=TaskRunFilterName(like_=name)),
            )
        ]


def _took(task: TaskRun) -> float:
    return task.total_run_time.total_seconds()


_SIZE = "SELECT '', pg_database_size(current_database())"
_ROWS = "SELECT relname, n_live_tup FROM pg_stat_user_tables WHERE n_live_tup > 0 ORDER BY 2 DESC"


async def _database(stack: Stack, query: str) -> list[tuple[str, int]]:
    import asyncpg  # type: ignore[import-untyped]

    connection = await asyncpg.connect(stack.database.replace("+asyncpg", ""))
    try:
        return [tuple(row) for row in await connection.fetch(query)]
    finally:
        await connection.close()

"""One archive of a million small photographs by two workers, for real: only with --run.

On PostgreSQL and Redis. At a quarter of the way one worker is killed with all that it has started,
half way another is added. The photographs have 256 x 192 pixels. It takes most of an hour,
and many gigabytes.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count, islice, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import pyarrow.parquet as pq

from benchmarks.photos import open_photos, resize
from benchmarks.report import Column, Report
from benchmarks.server import (
    ended,
    last_part,
    process_worker,
    production,
    shards_of,
    submit,
    written,
)
from infra.servers.process import descendants, memory
from infra.servers.stack import Stack
from intake.http.crops_zip import stream_zip
from pipeline.cores import cores
from storage.output.layout import MANIFEST, REPORT
from storage.output.output import Output

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

_MIB = 1 << 20
_MEGAPIXELS = 256 * 192 / 1e6
_TENTHS = 10
_LOOK_SECONDS = 2.0
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
    """What comes once a batch.

    Attributes:
        memory: MiB, the most of all the workers' runs meanwhile; None where it is not theirs.
    """

    step: Annotated[str, Column("")]
    seconds: Annotated[float, Column("seconds", ".1f")]
    memory: Annotated[float | None, Column("runs MiB", ".0f")] = None


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
        (batch,) = ended([run], poll_seconds=5)
        steps = [
            *_steps(batch, output, watch),
            Step("status in the middle", status),
            Step("status at the end", _status(str(run))),
            Step("report opened in Chromium", _opened(output / "report.html")),
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
        while not watch.over.wait(_LOOK_SECONDS):
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


def _steps(batch: FlowRun, output: Path, watch: _Watch) -> Iterator[Step]:
    """What happens once: the plan, until shards are handed out, the tables and the report."""
    assert batch.start_time
    moments = [
        batch.start_time.timestamp(),
        min(shard.created.timestamp() for shard in shards_of(batch) if shard.created),
        last_part(output),
        written(output, MANIFEST),
        written(output, REPORT),
    ]
    times = [*pairwise(moments)]
    for name, (began, over) in zip(
        ("plan", "tables", "report"), [times[0], *times[2:]], strict=True
    ):
        # the last look before it counts, too: some are over between two
        held = [run for when, run, *_ in watch.samples if began - _LOOK_SECONDS <= when <= over]
        yield Step(name, over - began, max(held, default=None))


def _opened(report: Path) -> float:
    """Seconds from asking a browser for a page until all of it is loaded and drawn once."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"))
        try:
            page = browser.new_page()
            began = time.monotonic()
            page.goto(report.as_uri())
            page.evaluate("() => new Promise(done => requestAnimationFrame(() => done()))")
            return time.monotonic() - began
        finally:
            browser.close()


_SIZE = "SELECT '', pg_database_size(current_database())"
_ROWS = "SELECT relname, n_live_tup FROM pg_stat_user_tables WHERE n_live_tup > 0 ORDER BY 2 DESC"


async def _database(stack: Stack, query: str) -> list[tuple[str, int]]:
    import asyncpg  # type: ignore[import-untyped]

    connection = await asyncpg.connect(stack.database.replace("+asyncpg", ""))
    try:
        return [tuple(row) for row in await connection.fetch(query)]
    finally:
        await connection.close()

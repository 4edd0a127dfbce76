"""Many small batches, all queued at once, and as many images in one batch, by the same workers.

That one batch is of one archive, or of a folder that has the small archives in it.

PostgreSQL, Redis, Prefect's server and services and the workers run on this machine. The rate is
over the time from the first run's start to the last one's end, by the server's clock.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from benchmarks.photos import open_photos, pack
from benchmarks.report import Column, Report
from benchmarks.server import ended, process_worker, production, submit
from infra.servers.process import cpu_seconds, descendants
from infra.servers.stack import Stack
from pipeline.cores import cores
from storage.output.output import Output

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

_DEPLOYMENT = "crop-archive/process"


@dataclass(frozen=True, slots=True)
class Row:
    """So many batches of so many images.

    Attributes:
        of: what each batch is of.
        server: CPU seconds of Prefect's server and services a batch.
        lost: images without a row in their batch's manifest.
    """

    of: Annotated[str, Column("of")]
    batches: Annotated[int, Column("batches", ",")]
    images: Annotated[int, Column("images each", ",")]
    seconds: Annotated[float, Column("seconds", ".0f")]
    rate: Annotated[float, Column("images/s", ".1f")]
    server: Annotated[float, Column("server's CPU s a batch", ".2f")]
    lost: Annotated[int, Column("lost", ",")]


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--batches", type=int, default=1000)
    parser.add_argument("--images", type=int, default=30, help="of each batch (default 30)")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--slots", type=int, default=2, help="of each worker (default 2)")


def run(options: argparse.Namespace) -> Report:
    with (
        open_photos(options.photos) as photos,
        production() as (stack, folder),
        ExitStack() as workers,
    ):
        small, whole, classes = folder / "small.zip", folder / "whole.zip", folder / "classes"
        total = options.images * options.batches
        pack(photos, small, options.images)
        pack(photos, whole, total)
        classes.mkdir()
        for number in range(options.batches):
            (classes / f"{number:04}.zip").hardlink_to(small)
        for number in range(options.workers):
            workers.enter_context(process_worker(f"worker-{number}", options.slots))
        one = _cropped(stack, "an archive", whole, 1, total)
        many = _cropped(stack, "a small archive", small, options.batches, options.images)
        within = _cropped(stack, "a folder of small archives", classes, 1, total)
    about = f"{options.workers} workers, each with up to {options.slots} runs at a time."
    figures = {
        "cores": cores(),
        "of_the_rate_of_one": many.rate / one.rate,
        "in_a_folder": within.rate / one.rate,
    }
    return Report(about, {"rows": [one, many, within]}, figures)


def _cropped(stack: Stack, of: str, archive: Path, batches: int, images: int) -> Row:
    before = _server_cpu(stack)
    outputs = archive.with_suffix(".out")
    place = {number: str(outputs / str(number)) for number in range(batches)}
    settings = {"run": {"shard_members": max(1, images // 20)}} if batches == 1 else {}
    runs = [submit(_DEPLOYMENT, _parameters(archive, one, settings)) for one in place.values()]
    over = ended(runs)
    seconds = _seconds(over)
    rows = sum(Output(one).totals().members for one in place.values())
    used = _server_cpu(stack) - before
    total = batches * images
    return Row(of, batches, images, seconds, total / seconds, used / batches, total - rows)


def _parameters(archive: Path, output: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    named = {"archive": str(archive), "output": output, "work_pool": "process"}
    return {**named, "settings": settings}


def _seconds(runs: list[FlowRun]) -> float:
    began = min(run.start_time for run in runs if run.start_time)
    ended_at = max(run.end_time for run in runs if run.end_time)
    return float((ended_at - began).total_seconds())


def _server_cpu(stack: Stack) -> float:
    pids = [daemon.pid for daemon in (stack.server, stack.services)]
    every = [one for pid in pids for one in (pid, *descendants(pid))]
    return sum(cpu_seconds(pid) or 0.0 for pid in every)

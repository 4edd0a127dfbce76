"""The HTTP service: an upload of some GiB, and many who ask how far a batch is.

A ZIP of stored members is uploaded as a raw body and as a form to a service of its own, into a
folder on the disk that it lies on, and copied there with `cp` and a sync, in turn. Then readers ask
one process for a batch's status at a steady rate; a reader's time counts from when it was due.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated
from urllib.parse import urlsplit

from benchmarks.report import Column, Report
from benchmarks.rounds import turns
from benchmarks.server import register, service, upload
from infra.servers.prefect import prefect_server
from infra.servers.process import cpu_seconds, memory
from intake.http.crops_zip import stream_zip

MIB = 1 << 20
_MEMBER = 4 * MIB


@dataclass(frozen=True, slots=True)
class Transfer:
    """One way to get the archive there, in one round.

    Attributes:
        cpu: seconds of the service; None for `cp`.
        peak_mib: memory of the service at its peak, above what it had before; None for `cp`.
    """

    way: Annotated[str, Column("")]
    seconds: Annotated[float, Column("seconds", ".1f")]
    mib_per_second: Annotated[float, Column("MiB/s", ".0f")]
    cpu: Annotated[float | None, Column("CPU s", ".1f")] = None
    peak_mib: Annotated[float | None, Column("MiB above before", ".1f")] = None


@dataclass(frozen=True, slots=True)
class Reading:
    """Many readers of one status.

    Attributes:
        asked: requests that were due.
        failed: those that got no 200.
        per_second: answers, as they came.
        p50_ms, p99_ms, worst_ms: from when a request was due to its answer.
        cpu_ms: CPU of the service a request.
    """

    asked: Annotated[int, Column("readers", ",")]
    per_second: Annotated[float, Column("a second", ".0f")]
    p50_ms: Annotated[float, Column("p50 ms", ".1f")]
    p99_ms: Annotated[float, Column("p99 ms", ".1f")]
    worst_ms: Annotated[float, Column("worst ms", ".0f")]
    failed: Annotated[int, Column("failed", "d")]
    cpu_ms: Annotated[float, Column("CPU ms each", ".2f")]


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--gib", type=float, default=5.0, help="size of the archive (default 5)")
    parser.add_argument("--readers", type=int, default=200, help="a second (default 200)")
    parser.add_argument("--seconds", type=float, default=30, help="of reading (default 30)")


def run(options: argparse.Namespace) -> Report:
    with TemporaryDirectory(dir=Path.cwd(), prefix=".benchmark-") as name, prefect_server():
        folder = Path(name)
        register()
        archive = folder / "archive.zip"
        write_archive(archive, int(options.gib * (1 << 30)))
        with service(folder) as (pid, url):
            upload(url, archive, as_form=False)  # what is imported by a first one is not its cost
            ways = {
                "cp": partial(_copied, archive),
                "raw body": partial(_uploaded, "raw body", pid, url, archive),
                "form": partial(_uploaded, "form", pid, url, archive),
            }
            transfers = [ways[way]() for _, way in turns([*ways], options.rounds)]
            batch = upload(url, archive, as_form=False)
            reading = _read(pid, url, batch, options.readers, options.seconds)
    about = f"{options.gib:g} GiB, {options.rounds} rounds in turn."
    return Report(about, {"transfers": transfers, "reading": [reading]})


def write_archive(path: Path, size: int) -> None:
    """Write a ZIP of about so many bytes, of stored members that do not compress."""
    block = os.urandom(_MEMBER)
    with path.open("wb") as file:
        members = max(1, size // _MEMBER)
        for piece in stream_zip((f"{number}.jpg", block) for number in range(members)):
            file.write(piece)


def _copied(archive: Path) -> Transfer:
    target = archive.with_suffix(".copy")
    began = time.monotonic()
    subprocess.run(["cp", archive, target], check=True)
    with target.open("rb") as file:
        os.fsync(file.fileno())
    seconds = time.monotonic() - began
    size = archive.stat().st_size
    target.unlink()
    return Transfer("cp", seconds, size / MIB / seconds)


def _uploaded(way: str, pid: int, url: str, archive: Path) -> Transfer:
    Path(f"/proc/{pid}/clear_refs").write_text("5")  # the peak counts from here
    before, cpu = memory(pid, "VmRSS"), cpu_seconds(pid) or 0.0
    began = time.monotonic()
    upload(url, archive, as_form=way == "form")
    seconds = time.monotonic() - began
    used = (cpu_seconds(pid) or 0.0) - cpu
    peak = (memory(pid, "VmHWM") - before) / MIB
    for stored in archive.parent.glob("store/uploads/*/*"):
        stored.unlink()
    return Transfer(way, seconds, archive.stat().st_size / MIB / seconds, used, peak)


def _read(pid: int, url: str, batch: str, rate: int, seconds: float) -> Reading:
    cpu = cpu_seconds(pid) or 0.0
    began = time.monotonic()
    times = asyncio.run(_readers(url, batch, rate, seconds))
    took = time.monotonic() - began
    used = (cpu_seconds(pid) or 0.0) - cpu
    good = sorted(1000 * one for one in times if one is not None)
    cuts = statistics.quantiles(good, n=100)
    return Reading(
        asked=len(times),
        failed=len(times) - len(good),
        per_second=len(good) / took,
        p50_ms=cuts[49],
        p99_ms=cuts[98],
        worst_ms=good[-1],
        cpu_ms=1000 * used / len(times),
    )


async def _readers(url: str, batch: str, rate: int, seconds: float) -> list[float | None]:
    """Seconds of each request, on connections that are kept; None for what failed."""
    place = urlsplit(url)
    idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
    request = f"GET /api/batch/status/{batch} HTTP/1.1\r\nHost: {place.netloc}\r\n\r\n".encode()

    async def ask(due: float) -> float | None:
        while idle and idle[-1][0].at_eof():  # the service ends what was silent for 5 seconds
            idle.pop()[1].close()
        reader, writer = (
            idle.pop() if idle else await asyncio.open_connection(place.hostname, place.port)
        )
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        fields = dict(line.lower().split(b": ", 1) for line in head.splitlines()[1:] if line)
        await reader.readexactly(int(fields[b"content-length"]))
        idle.append((reader, writer))
        return time.monotonic() - due if head.startswith(b"HTTP/1.1 200") else None

    first = time.monotonic()
    asked = []
    for number in range(int(rate * seconds)):
        due = first + number / rate
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        asked.append(asyncio.ensure_future(ask(due)))
    answers = await asyncio.gather(*asked, return_exceptions=True)
    for _, writer in idle:
        writer.close()
    return [None if isinstance(answer, BaseException) else answer for answer in answers]

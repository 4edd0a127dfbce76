"""The HTTP service: an upload of some GiB, and many who ask how far a batch is.

A ZIP of stored members is uploaded as a raw body and as a form to a service of its own, into a
folder on the disk that it lies on, and copied there with `cp` and a sync, in turn. Then readers ask
one process for a batch's status at a steady rate; a reader's time counts from when it was due.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

from rich.console import Console
from rich.table import Table

from benchmarks.process import cpu_seconds, memory
from benchmarks.server import prefect_server, register
from intake.crops_zip import stream_zip

MIB = 1 << 20
_MEMBER = 4 * MIB
_PATH = "/api/batch/upload-zip"
_BOUNDARY = "benchmark"


@dataclass(frozen=True, slots=True)
class Transfer:
    """One way to get the archive there.

    Attributes:
        seconds: wall time.
        mib_per_second: of the archive.
        cpu_seconds: of the service; None for `cp`.
        peak_mib: memory of the service at its peak, above what it had before; None for `cp`.
    """

    way: str
    seconds: float
    mib_per_second: float
    cpu_seconds: float | None
    peak_mib: float | None


@dataclass(frozen=True, slots=True)
class Reading:
    """Many readers of one status.

    Attributes:
        asked: requests that were due.
        failed: those that got no 200.
        per_second: answers a second, as they came.
        p50_ms, p99_ms, worst_ms: from when a request was due to its answer.
        cpu_ms: CPU of the service a request.
    """

    asked: int
    failed: int
    per_second: float
    p50_ms: float
    p99_ms: float
    worst_ms: float
    cpu_ms: float


@dataclass(frozen=True, slots=True)
class Result:
    """What was measured."""

    gib: float
    transfers: list[Transfer]
    reading: Reading

    def show(self, console: Console) -> None:
        """Prints it for people."""
        table = Table(f"{self.gib:g} GiB", "seconds", "MiB/s", "CPU s", "MiB above before")
        for one in self.transfers:
            table.add_row(
                one.way,
                f"{one.seconds:.1f}",
                f"{one.mib_per_second:.0f}",
                "" if one.cpu_seconds is None else f"{one.cpu_seconds:.1f}",
                "" if one.peak_mib is None else f"{one.peak_mib:.1f}",
            )
        console.print(table)
        seen = self.reading
        console.print(
            f"{seen.asked:,} readers, {seen.per_second:.0f} a second: p50 {seen.p50_ms:.1f} ms, "
            f"p99 {seen.p99_ms:.1f} ms, worst {seen.worst_ms:.0f} ms, {seen.failed} failed, "
            f"{seen.cpu_ms:.2f} ms CPU each"
        )


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--gib", type=float, default=5.0, help="size of the archive (default 5)")
    parser.add_argument("--rounds", type=int, default=2, help="of the transfers (default 2)")
    parser.add_argument("--readers", type=int, default=200, help="a second (default 200)")
    parser.add_argument("--seconds", type=float, default=30, help="of reading (default 30)")


def run(options: argparse.Namespace) -> Result:
    with TemporaryDirectory(dir=Path.cwd(), prefix=".benchmark-") as name, prefect_server():
        folder = Path(name)
        register()
        archive = folder / "archive.zip"
        write_archive(archive, int(options.gib * (1 << 30)))
        with _service(folder) as (pid, url):
            upload(url, archive, as_form=False)  # what is imported by a first one is not its cost
            transfers = []
            for _ in range(options.rounds):
                transfers.append(_copied(archive))
                for way, as_form in (("raw body", False), ("form", True)):
                    send = lambda form=as_form: upload(url, archive, as_form=form)  # noqa: E731
                    transfers.append(_uploaded(way, pid, archive, send))
            batch = upload(url, archive, as_form=False)
            reading = _read(pid, url, batch, options.readers, options.seconds)
    return Result(options.gib, transfers, reading)


def write_archive(path: Path, size: int) -> None:
    """Writes a ZIP of about so many bytes, of stored members that do not compress."""
    block = os.urandom(_MEMBER)
    with path.open("wb") as file:
        members = max(1, size // _MEMBER)
        for piece in stream_zip((f"{number}.jpg", block) for number in range(members)):
            file.write(piece)


@contextmanager
def _service(folder: Path) -> Iterator[tuple[int, str]]:
    """A service with its store in a folder: its process id and address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "intake.cli", "serve", "--port", "0"],
        env={
            **os.environ,
            "FACECROP_HTTP_STORE": str(folder / "store"),
            "FACECROP_HTTP_RATE": "100000",
        },
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        url = process.stdout.readline().strip().rpartition(" ")[2]
        if not url:
            raise RuntimeError("the service did not start")
        yield process.pid, url
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def upload(url: str, archive: Path, *, as_form: bool) -> str:
    """Uploads a file and gives its batch."""
    before = after = b""
    kind = "application/zip"
    if as_form:
        kind = f"multipart/form-data; boundary={_BOUNDARY}"
        disposition = 'Content-Disposition: form-data; name="file"; filename="a.zip"'
        before = f"--{_BOUNDARY}\r\n{disposition}\r\n\r\n".encode()
        after = f"\r\n--{_BOUNDARY}--\r\n".encode()

    def body() -> Iterator[bytes]:
        yield before
        with archive.open("rb") as file:
            while piece := file.read(MIB):
                yield piece
        yield after

    length = len(before) + archive.stat().st_size + len(after)
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=600)
    headers = {"Content-Type": kind, "Content-Length": str(length)}
    connection.request("POST", _PATH, body(), headers)
    answer = connection.getresponse()
    data = answer.read()
    connection.close()
    if answer.status != 201:
        raise RuntimeError(f"{answer.status}: {data.decode()}")
    return str(json.loads(data)["batchId"])


def _copied(archive: Path) -> Transfer:
    target = archive.with_suffix(".copy")
    began = time.monotonic()
    subprocess.run(["cp", archive, target], check=True)
    with target.open("rb") as file:
        os.fsync(file.fileno())
    seconds = time.monotonic() - began
    size = archive.stat().st_size
    target.unlink()
    return Transfer("cp", seconds, size / MIB / seconds, None, None)


def _uploaded(way: str, pid: int, archive: Path, send: Callable[[], str]) -> Transfer:
    Path(f"/proc/{pid}/clear_refs").write_text("5")  # the peak counts from here
    before, cpu = memory(pid, "VmRSS"), cpu_seconds(pid) or 0.0
    began = time.monotonic()
    send()
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

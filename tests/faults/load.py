"""More than usual: `python -m tests.faults.load [SCENARIO ...] [--json]`.

On Prefect as it runs in production, PostgreSQL and Redis, all on this machine:

    together    20 batches of 100 images at once, by one worker with room for 20 runs
    queued      1,000 batches wait; how long that takes, what it costs to ask about them, and
                whether a worker then takes the urgent ones first
    uploads     50 clients upload an archive of 16 MiB each at the same time, again when told to
    day         48 archives, one for each half hour of a day, arrive in an inbox within 4 minutes
    memory      a worker's memory from the first to the last of 10,000 images
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
from prefect.settings import PREFECT_API_URL, temporary_settings

from infra.servers.process import descendants, memory
from infra.servers.stack import Stack, prefect_stack
from intake.cli.samples import write_sample
from tests.intake.web import UPLOAD, serving
from tests.workers import state, submit

MIB = 1 << 20
_TOGETHER, _IMAGES_EACH = 20, 100
_QUEUED, _URGENT = 1_000, 3
_UPLOADS, _UPLOAD_MIB = 50, 16
_ARRIVALS, _DAY_SECONDS = 48, 240
_MEMORY_IMAGES = 10_000
_PATIENCE_SECONDS = 1800


@dataclass(frozen=True, slots=True)
class World:
    """Where it happens."""

    folder: Path
    stack: Stack
    environment: dict[str, str]


def together(world: World) -> dict[str, Any]:
    """Many batches at once."""
    archive = world.folder / "together.zip"
    write_sample(archive, _IMAGES_EACH)
    started = time.monotonic()
    with _worker(world, "together", limit=_TOGETHER) as worker:
        runs = [
            submit(str(archive), str(world.folder / f"together-{number}"), {}).id
            for number in range(_TOGETHER)
        ]
        seen = _wait(runs, lambda: _memory(worker))
    return {
        "batches": len(runs),
        "completed": _completed(runs),
        "seconds": round(time.monotonic() - started),
        "memory_mib": round(max(seen)),
    }


def queued(world: World) -> dict[str, Any]:
    """A long queue."""
    archive = world.folder / "queued.zip"
    write_sample(archive, 4)

    def put(number: int, priority: int) -> UUID:
        output = str(world.folder / f"queued-{priority}-{number}")
        return submit(str(archive), output, {}, priority=priority).id

    started = time.monotonic()
    for number in range(_QUEUED):
        put(number, 5)
    putting = time.monotonic() - started
    asked = {}
    for command in (["queues"], ["workers"], ["doctor"]):
        began = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "facecrop", *command, "--json"],
            env=world.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        asked[command[0]] = round(time.monotonic() - began, 1)
        if command == ["queues"]:
            waiting = sum(json.loads(line)["waiting"] for line in done.stdout.splitlines())
    urgent = [put(number, 1) for number in range(_URGENT)]
    began = time.monotonic()
    with _worker(world, "queued", limit=1):
        _wait(urgent)
    return {
        "batches": _QUEUED,
        "batches_per_second": round(_QUEUED / putting, 1),
        "counted_by_queues": waiting,
        "command_seconds": asked,
        "urgent_completed": _completed(urgent),
        "urgent_seconds": round(time.monotonic() - began),
        "others_taken_before": _taken(world, "queued-5-"),
    }


def uploads(world: World) -> dict[str, Any]:
    """Many uploads at the same time."""
    archive = world.folder / "upload.zip"
    with zipfile.ZipFile(archive, "w") as target:
        for number in range(4):
            target.writestr(f"{number}.jpg", os.urandom(_UPLOAD_MIB * MIB // 4))
    with serving(world.folder, str(world.folder / "store"), world.environment) as web:
        before = memory(web.process.pid, "VmRSS")

        refusals: list[str] = []

        def upload(number: int) -> tuple[str, float]:
            began = time.monotonic()
            while True:
                with archive.open("rb") as body:
                    answer = httpx.post(
                        f"{web.url}{UPLOAD}",
                        params={"filename": f"{number}.zip"},
                        content=iter(lambda: body.read(MIB), b""),
                        headers={**web.client.headers, "Content-Type": "application/zip"},
                        timeout=300,
                    )
                if answer.status_code != 503:
                    return answer.raise_for_status().json()["batchId"], time.monotonic() - began
                refusals.append(answer.json()["detail"])
                time.sleep(float(answer.headers["Retry-After"]))

        started = time.monotonic()
        with ThreadPoolExecutor(_UPLOADS) as clients:
            answers = list(clients.map(upload, range(_UPLOADS)))
        seconds = time.monotonic() - started
        peak = memory(web.process.pid, "VmHWM")
    return {
        "uploads": _UPLOADS,
        "mib_each": _UPLOAD_MIB,
        "batches": len({batch for batch, _ in answers}),
        "refused": len(refusals),
        "refusal": max(refusals, default=""),
        "seconds": round(seconds, 1),
        "slowest_seconds": round(max(took for _, took in answers), 1),
        "service_peak_mib": round(peak / MIB),
        "service_before_mib": round(before / MIB),
    }


def day(world: World) -> dict[str, Any]:
    """A day in some minutes."""
    inbox, output = world.folder / "inbox", world.folder / "batches"
    inbox.mkdir()
    watch = [sys.executable, "-m", "tests.faults.watcher", str(inbox), str(output)]
    ready = world.folder / "day.zip"
    write_sample(ready, 20)
    with ExitStack() as stack:
        log = stack.enter_context((world.folder / "watcher.log").open("wb"))
        watcher = subprocess.Popen(watch, env=world.environment, stdout=log, stderr=log)
        stack.callback(_end, watcher)
        stack.enter_context(_worker(world, "day", limit=2))
        started = time.monotonic()
        for number in range(_ARRIVALS):
            part = inbox / f"{number:02}.zip.part"
            part.write_bytes(ready.read_bytes())
            part.rename(part.with_suffix(""))
            time.sleep(
                max(0.0, started + (number + 1) * _DAY_SECONDS / _ARRIVALS - time.monotonic())
            )
        arrived = time.monotonic() - started
        until = time.monotonic() + _PATIENCE_SECONDS
        while _written(output, "report.html") < _ARRIVALS and time.monotonic() < until:
            time.sleep(1)
        behind = time.monotonic() - started - arrived
    return {
        "archives": _ARRIVALS,
        "batches": _written(output, "manifest.parquet"),
        "compressed": round(86_400 / arrived),
        "seconds_behind_at_the_end": round(behind),
    }


def _written(output: Path, name: str) -> int:
    """How many outputs below a folder have a file; folders may go meanwhile, unlike with `glob`."""
    return sum(name in names for _, _, names in os.walk(output))


def flat(world: World) -> dict[str, Any]:
    """A worker's memory over a long batch."""
    archive = world.folder / "flat.zip"
    write_sample(archive, _MEMORY_IMAGES)
    settings = {"run": {"shard_members": 1_000_000}}
    with _worker(world, "flat", limit=2) as worker:
        run = submit(str(archive), str(world.folder / "flat"), settings).id
        output = world.folder / "flat" / "parts"

        def at_work() -> float:
            parts = len(list(output.glob("*"))) if output.exists() else 0
            return _memory(worker) if parts > 4 else 0

        seen = [mib for mib in _wait([run], at_work) if mib]
    quarter = len(seen) // 4
    return {
        "images": _MEMORY_IMAGES,
        "completed": _completed([run]),
        "mib_by_quarter": [
            round(statistics.median(seen[at : at + quarter]))
            for at in range(0, 4 * quarter, quarter)
        ],
        "mib_at_most": round(max(seen)),
    }


SCENARIOS: dict[str, Callable[[World], dict[str, Any]]] = {
    "together": together,
    "queued": queued,
    "uploads": uploads,
    "day": day,
    "memory": flat,
}


@contextmanager
def _world() -> Iterator[World]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        prefect = stack.enter_context(prefect_stack())
        address = prefect.environment["PREFECT_API_URL"]
        stack.enter_context(temporary_settings({PREFECT_API_URL: address}))
        os.environ["PREFECT_API_URL"] = address
        subprocess.run([sys.executable, "-m", "deployments"], check=True, capture_output=True)
        yield World(folder, prefect, {**os.environ, **prefect.environment})


@contextmanager
def _worker(world: World, name: str, limit: int) -> Iterator[int]:
    command = [sys.executable, "-m", "prefect", "worker", "start", "--name", name]
    with (world.folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--pool", "facecrop-process", "--limit", str(limit)],
            env={**world.environment, "PREFECT_WORKER_QUERY_SECONDS": "2"},
            stdout=log,
            stderr=log,
        )
    try:
        yield process.pid
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    process.wait(120)


def _wait(runs: list[UUID], look_at: Callable[[], float] = lambda: 0.0) -> list[float]:
    """Wait until runs have ended; give what was seen meanwhile, once a second."""
    seen, waiting = [0.0], list(runs)
    until = time.monotonic() + _PATIENCE_SECONDS
    while waiting and time.monotonic() < until:
        seen.append(look_at())
        waiting = [run for run in waiting if not state(run).is_final()]
        time.sleep(1)
    return seen


def _completed(runs: list[UUID]) -> int:
    return sum(state(run).is_completed() for run in runs)


def _taken(world: World, prefix: str) -> int:
    return len(list(world.folder.glob(f"{prefix}*")))


def _memory(worker: int) -> float:
    """MiB of a worker's runs and their children; what they share counts once (Pss in proc(5))."""
    held = 0
    for pid in descendants(worker):
        with suppress(OSError):  # it has ended
            held += memory(pid, "Pss", "smaps_rollup")
    return held / MIB


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults.load",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("scenarios", nargs="*", choices=[*SCENARIOS, []], metavar="SCENARIO")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    found = {}
    for name in options.scenarios or SCENARIOS:
        with _world() as world:
            found[name] = SCENARIOS[name](world)
        if not options.json:
            print(name, json.dumps(found[name]), flush=True)
    if options.json:
        print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())

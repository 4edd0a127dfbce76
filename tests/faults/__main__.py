"""Batches under faults: `python -m tests.faults [--seed 1] [--injections 50] [--json]`.

A batch of 2,000 images runs over two process workers on PostgreSQL, Redis and an S3-compatible
server, which the workers reach through a proxy that injects faults; meanwhile one part after the
other is killed, stopped, delayed or filled up, in an order that the seed decides. When a batch has
ended, the next begins, until all injections are done: on the object store and on a small local disk
in turn. Each output is then compared with that of a run which nobody disturbed.

What an operator would do is done, and counted: a batch that gave up is run again, and members that
failed because storage failed too often are retried. Needs root, to mount a small file system,
and gcc, for a clock that jumps.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import copy_context
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID, uuid4

import fsspec
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateName
from prefect.client.schemas.objects import FlowRun, State
from prefect.deployments import run_deployment
from prefect.settings import PREFECT_API_URL, temporary_settings

from infra.servers.stack import Daemon, prefect_stack
from intake.cli.samples import write_sample
from storage.output.output import Output as Folder
from tests.faults.kinds import MARK, Worker, World, processes, small_disk
from tests.faults.proxy import fault_proxy
from tests.flows.batches import Result as Output
from tests.flows.batches import result
from tests.services import SeaweedFS
from tests.workers import state, states, submit

MEMBERS = 2_000
NOTE = "note.txt"
SETTINGS: dict[str, Any] = {
    "chunk": {"members": 20},
    "run": {"shard_members": 250, "threads": 1},
    "limits": {"image_seconds": 30},  # a child that is stopped is waited for so long
}
_WORKERS = 2
_DISK_MIB = 256
_BETWEEN = (0.5, 3.0)  # seconds from one injection to the next
_BATCH_SECONDS = 3600  # then it hangs, however busy the machine is
_CRASHED_SECONDS = 180  # then nobody resumes it, as the event was lost with Redis
_PATIENCE_SECONDS = 600  # a server that was killed may start slowly on a machine that others use
_QUIET_SECONDS = 480  # in which runs whose process is gone are noticed
_CLOCK = Path(__file__).with_name("clock.c")

_OVERTAKEN = "is no longer this batch's"

T = TypeVar("T")


@dataclass(slots=True)
class Result:
    """The result.

    Attributes:
        injections: tried, by kind.
        batches: that were run to their end.
        resubmitted: times that a batch had given up and was run again.
        overtaken: times that a batch's run ended as another had overwritten its output.
        retried: members that failed for want of storage and were retried.
        lost, doubled: rows of the manifests.
        different: rows or crops that are not as in the run that nobody disturbed.
        strange: files at an output that are not there in that run, or missing.
        deleted: files of others at an output that are gone.
        running: runs that still count as running long after.
        left_over: processes that outlive their worker.
        seconds: of it all.
    """

    seed: int
    injections: dict[str, int] = field(default_factory=dict)
    tried: int = 0
    batches: int = 0
    resubmitted: int = 0
    overtaken: int = 0
    retried: int = 0
    lost: int = 0
    doubled: int = 0
    different: int = 0
    strange: int = 0
    deleted: int = 0
    running: int = 0
    left_over: int = 0
    seconds: float = 0

    @property
    def harm(self) -> int:
        """0 where every injection was survived."""
        wrong = (self.lost, self.doubled, self.different, self.strange, self.deleted)
        return sum(wrong) + self.running + self.left_over


def run(seed: int, injections: int) -> Result:
    """Do it all, in a temporary folder."""
    started = time.monotonic()
    found = Result(seed)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        folder.chmod(0o755)
        sample = folder / "sample.zip"
        write_sample(sample, MEMBERS)
        world, bucket = stack.enter_context(_world(folder, seed))
        expected = _undisturbed(sample, folder / "undisturbed")
        archive = f"s3://{bucket}/sample.zip"
        fsspec.filesystem("s3").put_file(str(sample), archive)
        faults = _Faults(world, injections, found)
        faults.start()
        while faults.is_alive():
            where = f"s3://{bucket}" if found.batches % 2 == 0 else str(world.disk)
            output = f"{where}/out-{found.batches}"
            _complete(archive, output, faults)
            _judge(output, expected, found)
            found.batches += 1
            _log(f"batch {found.batches} done, {found.tried} injections, harm {found.harm}")
            if where == str(world.disk):
                fsspec.filesystem("file").rm(output, recursive=True)
        faults.join()
        if faults.failure is not None:
            raise faults.failure
        until = time.monotonic() + _QUIET_SECONDS
        while (running := _running()) and time.monotonic() < until:
            time.sleep(5)
        found.running = len(running)
        for one in running:
            were = _patiently(partial(_states, one))
            told = ", ".join(f"{state.timestamp:%T} {state.name}" for state in were)
            _log(f"still {one.state_name}: {one.name}, parent {one.parent_task_run_id}: {told}")
        for worker in world.workers:
            worker.end(signal.SIGTERM)
        time.sleep(5)
        left = processes(world.mark)
        for pid, line in left:
            _log(f"left over: {pid} {line}")
        found.left_over = len(left)
    found.seconds = round(time.monotonic() - started, 1)
    return found


@contextmanager
def _world(folder: Path, seed: int) -> Iterator[tuple[World, str]]:
    with ExitStack() as stack:
        weed = SeaweedFS.on_free_ports(folder / "weed", "photos")
        store = Daemon(
            "weed", weed.command, folder / "weed", lambda _: weed.is_ready(), weed.environment
        )
        store.start()
        stack.callback(store.kill)
        os.environ.update(weed.s3.environment)
        prefect = stack.enter_context(prefect_stack())
        address = prefect.environment["PREFECT_API_URL"]
        stack.enter_context(temporary_settings({PREFECT_API_URL: address}))
        os.environ["PREFECT_API_URL"] = address
        subprocess.run([sys.executable, "-m", "deployments"], check=True, capture_output=True)
        proxy = stack.enter_context(fault_proxy(weed.s3.endpoint))
        disk = stack.enter_context(small_disk(folder, _DISK_MIB))
        clock, library, mark = folder / "clock", folder / "clock.so", str(uuid4())
        clock.write_text("+0")
        subprocess.run(["gcc", "-shared", "-fPIC", "-O2", "-o", library, _CLOCK], check=True)
        environment = {
            **os.environ,
            "AWS_ENDPOINT_URL": proxy.endpoint,
            "TMPDIR": str(disk),
            "LD_PRELOAD": str(library),
            "CLOCK_FILE": str(clock),
            "PREFECT_WORKER_QUERY_SECONDS": "2",
            MARK: mark,
        }
        workers = [Worker(f"worker-{number}", folder, environment) for number in range(_WORKERS)]
        for worker in workers:
            worker.start()
        stack.callback(_end_all, mark)
        chance = random.Random(seed)
        yield World(prefect, store, proxy, workers, disk, clock, mark, chance), weed.s3.bucket


class _Faults(threading.Thread):
    """Injects one after the other; a batch runs meanwhile."""

    def __init__(self, world: World, injections: int, found: Result) -> None:
        super().__init__(daemon=True)
        self.world, self.found = world, found
        self._injections = injections
        self.failure: Exception | None = None

    def run(self) -> None:
        kinds = self.world.kinds()
        try:
            while self.found.tried < self._injections:
                time.sleep(self.world.chance.uniform(*_BETWEEN))
                self.world.revive()
                name = self.world.chance.choice(sorted(kinds))
                if kinds[name]():
                    self.found.injections[name] = self.found.injections.get(name, 0) + 1
                    self.found.tried += 1
                    _log(f"{self.found.tried}: {name}")
        except Exception as error:  # noqa: BLE001 raised again where it is waited for
            self.failure = error


def _undisturbed(sample: Path, output: Path) -> Output:
    from flows.crop_archive import crop_archive
    from pipeline.settings import CropSettings

    crop_archive(str(sample), str(output), CropSettings.model_validate(SETTINGS))
    return result(str(output))


def _complete(archive: str, output: str, faults: _Faults) -> None:
    """Run a batch until all is there, as an operator would."""
    others: list[UUID] = []
    settings = copy_context()  # which server is asked: another thread would not know

    def start(existing: str = "resume") -> FlowRun:
        run = {**SETTINGS["run"], "existing": existing}
        return submit(archive, output, {**SETTINGS, "run": run})

    def again(existing: str) -> bool:
        try:
            others.append(settings.run(start, existing).id)
        except Exception:  # noqa: BLE001 what a killed server makes of a call is its own
            return False
        return True

    _patiently(partial(_leave_note, output))  # the disk may be full yet, from the batch before
    faults.world.again = again
    _end_of(start, faults)
    faults.world.again = None
    for other in others:
        _ended(other, time.monotonic() + _BATCH_SECONDS, faults)
    if others:  # an overwriting one may have been the last, and have failed
        _end_of(start, faults)
    while failed := _storage_failures(output):
        faults.found.retried += failed
        _end_of(lambda: _drive_again(output), faults)


def _leave_note(output: str) -> None:
    with fsspec.open(f"{output}/{NOTE}", "w") as note:
        note.write("A person's, who keeps it beside the batch.")


def _drive_again(output: str) -> FlowRun:
    run = run_deployment("retry-failed/process", parameters={"output": output}, timeout=0)
    assert isinstance(run, FlowRun)
    return run


def _end_of(start: Callable[[], FlowRun], faults: _Faults) -> None:
    """Start a run, and again where it gives up, until it is completed."""
    until = time.monotonic() + _BATCH_SECONDS
    run = _patiently(start).id
    while not (now := _ended(run, until, faults)).is_completed():
        _log(f"gave up: {now.name}: {now.message}")
        _log(f"it was {', '.join(_patiently(partial(states, run)))}")
        if _OVERTAKEN in (now.message or ""):
            faults.found.overtaken += 1
        else:
            faults.found.resubmitted += 1
        run = _patiently(start).id


def _ended(run: UUID, until: float, faults: _Faults) -> State[Any]:
    """Wait for the end of a run; one that crashed is resumed, but for what was lost with Redis."""
    crashed_since = None
    while True:
        now = _patiently(partial(state, run))
        crashed_since = (crashed_since or time.monotonic()) if now.is_crashed() else None
        left = crashed_since is not None and time.monotonic() - crashed_since > _CRASHED_SECONDS
        if left or (now.is_final() and not now.is_crashed()):
            return now
        if time.monotonic() > until:
            raise TimeoutError(f"the run hangs: {now!r}")
        if not faults.is_alive():
            faults.world.revive()
        time.sleep(1)


def _storage_failures(output: str) -> int:
    def count() -> int:
        return sum(row["error"] == "unreadable" for row in Folder(output).failed_rows())

    return _patiently(count)


def _judge(output: str, expected: Output, found: Result) -> None:
    got = _patiently(lambda: result(output))
    rows = Counter(row["member"] for row in got.manifest)
    found.lost += len(set(range(MEMBERS)) - rows.keys())
    found.doubled += sum(count - 1 for count in rows.values())
    there, wanted = _comparable(got), _comparable(expected)
    differing = [row for row, right in zip(there, wanted, strict=False) if row != right]
    for row in differing[:5]:
        _log(f"different: {row}")
    found.different += len(differing) + sum(
        a != b for a, b in zip(got.faces, expected.faces, strict=False)
    )
    found.different += sum(
        got.crops[name] != expected.crops[name] for name in got.crops.keys() & expected.crops
    )
    there_now = set(got.names)
    found.deleted += NOTE not in there_now
    strange = (there_now - {NOTE}) ^ set(expected.names)
    for name in sorted(strange)[:5]:
        _log(f"strange: {name}")
    found.strange += len(strange)


def _comparable(output: Output) -> list[dict[str, Any]]:
    """Rows without how often a member was tried."""
    return [{**row, "attempts": None} for row in output.manifest]


def _running() -> list[FlowRun]:
    state_names = FlowRunFilterStateName(any_=["Running", "Pending", "Cancelling"])
    wanted = FlowRunFilter(state=FlowRunFilterState(name=state_names))

    def read() -> list[FlowRun]:
        with get_client(sync_client=True) as client:
            return client.read_flow_runs(flow_run_filter=wanted)

    return _patiently(read)


def _states(run: FlowRun) -> list[State[Any]]:
    """The states that a run has been in, oldest first."""
    with get_client(sync_client=True) as client:
        return sorted(client.read_flow_run_states(run.id), key=lambda one: one.timestamp)


def _patiently(call: Callable[[], T]) -> T:
    """What a call gives, when the server and the store are there again."""
    until = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            return call()
        except Exception as error:  # what a killed server makes of a call is its own
            if time.monotonic() > until:
                raise
            _log(f"waits: {type(error).__name__}")
            time.sleep(2)


def _end_all(mark: str) -> None:
    for pid, _ in processes(mark):
        os.kill(pid, 9)


def _log(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--injections", type=int, default=50)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    found = run(options.seed, options.injections)
    if options.json:
        print(json.dumps(asdict(found)))
    else:
        for name, value in asdict(found).items():
            print(f"{name:12}{value}")
    return 1 if found.harm else 0


if __name__ == "__main__":
    sys.exit(main())

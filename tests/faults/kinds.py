"""What can go wrong, each done to a running world in one call."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from infra.servers.process import descendants
from infra.servers.stack import Daemon, Stack
from tests.faults.proxy import FAULTS, FaultProxy

MARK = "FACECROP_FAULTS"
"""A variable in the environment of every process of a world, so that none can hide."""

_DOWN_SECONDS = (0.5, 4.0)
_GONE = (70.0, 90.0)  # seconds: longer than anybody waits for the server
_FULL_SECONDS = 8.0
_JUMP_SECONDS = 10.0
_JUMPS = ("+600", "-600")  # S3 refuses signatures that are off by 15 minutes
# Started, or forked: those have names of their own, and before a forked run stands its client.
_FLOW_RUN = ("prefect.engine", "facecrop-run")
_CHILD = ("detection.sandbox.child", "facecrop-image")
_FORK_SERVER = ("deployments.warm.server", "detection.sandbox.forkserver")
_WAITING_FAULTS = 3  # of the proxy
_FULL_OF_PROCESSES_SECONDS = 10.0
_PIDS = Path("/sys/fs/cgroup/pids")  # where this kernel counts processes by group


class Worker:
    """A process worker, killed and started again under the same name."""

    def __init__(self, name: str, folder: Path, environment: Mapping[str, str]) -> None:
        self._name, self._log = name, folder / f"{name}.log"
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "prefect", "worker", "start", "--name", self._name]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "--pool", "facecrop-process", "--limit", "1"],
                env=self._environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def revive(self) -> None:
        """Start it again where it has ended by itself, as whoever supervises it would."""
        assert self._process is not None
        if self._process.poll() is not None:
            self.start()

    def end(self, how: signal.Signals) -> None:
        """End it by a signal; by SIGKILL with all that it has started, as if its machine died."""
        assert self._process is not None
        if how == signal.SIGKILL:
            for one in [self._process.pid, *descendants(self._process.pid)]:
                with suppress(ProcessLookupError):
                    os.kill(one, how)
        else:
            self._process.send_signal(how)
        self._process.wait(60)


@dataclass
class World:
    """All that a batch runs on.

    Attributes:
        disk: a small file system that the workers use for temporary files and some outputs.
        clock: the file that says how far the workers' clocks are off.
        again: starts the batch under way once more, to resume or to overwrite it; None while there
            is none.
    """

    stack: Stack
    store: Daemon
    proxy: FaultProxy
    workers: list[Worker]
    disk: Path
    clock: Path
    mark: str
    chance: random.Random
    again: Callable[[str], bool] | None = None

    def kinds(self) -> dict[str, Callable[[], bool]]:
        """What can be done to it, by name; each says whether there was anything to do it to."""
        daemons = {
            "server": self.stack.server,
            "services": self.stack.services,
            "redis": self.stack.redis,
            "postgres": self.stack.postgres,
            "store": self.store,
        }
        kinds: dict[str, Callable[[], bool]] = {
            "kill worker": partial(self._end_worker, signal.SIGKILL),
            "stop worker": partial(self._end_worker, signal.SIGTERM),
            "kill flow run": partial(self._end_one, _FLOW_RUN, signal.SIGKILL),
            "stop flow run": partial(self._end_one, _FLOW_RUN, signal.SIGTERM),
            "kill child": partial(self._end_one, _CHILD, signal.SIGKILL),
            "full disk": self._fill_disk,
            "clock jump": self._jump,
            "stop a child for good": partial(self._end_one, _CHILD, signal.SIGSTOP),
            "kill fork server": partial(self._end_one, _FORK_SERVER, signal.SIGKILL),
            "stop fork server for good": partial(self._end_one, _FORK_SERVER, signal.SIGSTOP),
            "lying child": self._lie,
            "no processes left": self._exhaust,
            "server gone for long": partial(self._lose, self.stack.server, signal.SIGKILL, _GONE),
            "two runs at one output": partial(self._run_again, "resume"),
            "overwrite while another runs": partial(self._run_again, "overwrite"),
        }
        for name, daemon in daemons.items():
            kinds[f"kill {name}"] = partial(self._lose, daemon, signal.SIGKILL)
            kinds[f"stop {name}"] = partial(self._lose, daemon, signal.SIGTERM)
        for fault in FAULTS:
            kinds[f"S3: {fault}"] = partial(self._befall, fault)
        return kinds

    def revive(self) -> None:
        """Start workers again that have ended by themselves."""
        for worker in self.workers:
            worker.revive()

    def _end_worker(self, how: signal.Signals) -> bool:
        worker = self.chance.choice(self.workers)
        worker.end(how)
        time.sleep(self.chance.uniform(*_DOWN_SECONDS))
        worker.start()
        return True

    def _end_one(self, commands: Sequence[str], how: signal.Signals) -> bool:
        found = self._running(commands)
        if not found:
            return False
        with suppress(ProcessLookupError):
            os.kill(self.chance.choice(found), how)
        return True

    def _running(self, commands: Sequence[str]) -> list[int]:
        every = processes(self.mark)
        return sorted(pid for pid, line in every if any(one in line for one in commands))

    def _lie(self) -> bool:
        """Put bytes into the pipe on which a child answers, as a hostile image could."""
        children = self._running(_CHILD)
        self.chance.shuffle(children)
        for pid in children:
            for answers in _pipes_written_by(pid):
                with suppress(OSError):
                    pipe = os.open(answers, os.O_WRONLY | os.O_NONBLOCK)
                    try:
                        os.write(pipe, self.chance.randbytes(self.chance.randrange(1, 200)))
                    finally:
                        os.close(pipe)
                    return True
        return False

    def _exhaust(self) -> bool:
        """Lets a flow run have no more processes and threads than it has, and kills a child of it.

        What the kernel then refuses is what a machine refuses that is full.
        """
        runs = self._running(_FLOW_RUN)
        if not runs or not _PIDS.is_dir():
            return False
        group = _PIDS / f"facecrop-{self.mark}"
        group.mkdir(exist_ok=True)
        ours = self.chance.choice(runs)
        try:
            for pid in [ours, *descendants(ours), *self._running(_FORK_SERVER)]:
                with suppress(OSError):
                    (group / "cgroup.procs").write_text(str(pid))
            (group / "pids.max").write_text((group / "pids.current").read_text())
            self._end_one(_CHILD, signal.SIGKILL)
            time.sleep(_FULL_OF_PROCESSES_SECONDS)
        finally:
            (group / "pids.max").write_text("max")
            for held in (group / "cgroup.procs").read_text().split():
                with suppress(OSError):
                    (_PIDS / "cgroup.procs").write_text(held)
            with suppress(OSError):
                group.rmdir()
        return True

    def _run_again(self, existing: str) -> bool:
        return self.again is not None and self.again(existing)

    def _lose(
        self, daemon: Daemon, how: signal.Signals, seconds: tuple[float, float] = _DOWN_SECONDS
    ) -> bool:
        daemon.kill(how)
        time.sleep(self.chance.uniform(*seconds))
        daemon.start()
        return True

    def _fill_disk(self) -> bool:
        ballast = self.disk / "ballast"
        try:
            with suppress(OSError), ballast.open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(1 << 16))
            time.sleep(_FULL_SECONDS)
        finally:
            ballast.unlink()
        return True

    def _jump(self) -> bool:
        self.clock.write_text(self.chance.choice(_JUMPS))
        time.sleep(_JUMP_SECONDS)
        self.clock.write_text("+0")
        return True

    def _befall(self, fault: str) -> bool:
        before = self.proxy.injected[fault]
        if self.proxy.waiting() >= _WAITING_FAULTS:
            return False
        self.proxy.order(fault)
        until = time.monotonic() + 10
        while time.monotonic() < until:
            if self.proxy.injected[fault] > before:
                return True
            time.sleep(0.1)
        return not self.proxy.withdraw(fault)


@contextmanager
def small_disk(folder: Path, mib: int) -> Iterator[Path]:
    """Mounts a file system in memory, of so many MiB, for as long as it is wanted."""
    place = folder / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={mib}m,mode=1777", "tmpfs", str(place)]
    subprocess.run(mount, check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def _pipes_written_by(pid: int) -> list[str]:
    """The pipes that a process writes to, but for its standard output and error."""
    found = []
    for place in Path(f"/proc/{pid}/fd").glob("*"):
        with suppress(OSError, ValueError):
            flags = (place.parent.with_name("fdinfo") / place.name).read_text()
            writes = int(flags.split("flags:")[1].split()[0], 8) & os.O_ACCMODE == os.O_WRONLY
            if int(place.name) > 2 and writes and str(place.readlink()).startswith("pipe:"):
                found.append(str(place))
    return found


def processes(mark: str) -> list[tuple[int, str]]:
    """Every living process with a mark in its environment: its id, and command or own name."""
    wanted = f"{MARK}={mark}".encode()
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if wanted in (place / "environ").read_bytes().split(b"\0"):
                line = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                name = (place / "comm").read_text()
                line = name if name.startswith("facecrop-") else line
                found.append((int(place.name), line))
    return found

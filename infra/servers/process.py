"""What processes use, as proc(5) tells it, how long one may start, and how one is ended."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import Any

from detection.forking.request import Forked
from detection.sandbox.pool import idle_pids

Process = subprocess.Popen[bytes] | Forked
"""One that was started, or forked by a server that has imported what it needs."""

START_SECONDS = 600
"""In which a server has to be ready: on a busy machine it takes minutes."""

_STOP_SECONDS = 40


def cpu_seconds(pid: int) -> float | None:
    """CPU that a process has used, and its children that have ended; None without a /proc."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # proc(5): fields 14 to 17, of which the first two, with a name that may hold anything, end at
    # the last bracket
    return sum(map(int, stat.rpartition(")")[2].split()[11:15])) / os.sysconf("SC_CLK_TCK")


def memory(pid: int, field: str, table: str = "status") -> int:
    """Bytes of a process: `VmRSS`, what it has now, or `VmHWM`, the most that it had.

    In the table `smaps_rollup`, `Pss` is what it has now, its share of what others have too.

    0 for a process that is over but for its parent's notice.

    Raises:
        OSError: there is no such process.
    """
    lines = Path(f"/proc/{pid}/{table}").read_text().splitlines()
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith(f"{field}:"))


def descendants(pid: int) -> list[int]:
    """The processes that a process has started, and those that they have."""
    found: list[int] = []
    waiting = [pid]
    while waiting:
        try:
            tasks = list(Path(f"/proc/{waiting.pop()}/task").glob("*/children"))
            children = [int(child) for task in tasks for child in task.read_text().split()]
        except OSError:
            continue  # it has ended
        found += children
        waiting += children
    return found


def sandboxes_cpu_seconds() -> float:
    """CPU that the processes have used in which this one has images worked on."""
    return sum(cpu_seconds(pid) or 0.0 for pid in idle_pids())


def end(process: subprocess.Popen[Any] | Process) -> None:
    """End a process, by force where it does not end by itself."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()

"""How many cores there are to work with."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

_GROUPS = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")


def cores() -> int:
    """Cores that this process may use, where the system tells.

    On Linux no more than a container's limit on CPU time comes to: a process an image for each core
    of the machine would take a small container's memory, and wait for its time.
    """
    if hasattr(os, "sched_getaffinity"):
        there = len(os.sched_getaffinity(0))
    else:
        there = os.cpu_count() or 1
    return min([there, *map(math.ceil, _limits(_GROUPS, _OWN))])


def _limits(groups: Path, own: Path) -> Iterator[float]:
    """Cores' worth of CPU time that each control group of this process allows, versions 1 and 2.

    See "CPU" in the kernel's cgroup-v2.rst, and sched-bwc.rst for version 1.

    Args:
        groups: where they are mounted; in a container that is its own group.
        own: the file that names this process's.
    """
    try:
        named = [line.split(":", 2) for line in own.read_text().splitlines()]
    except OSError:
        return
    for _, controllers, path in named:
        if controllers == "":
            root, files = groups, ["cpu.max"]
        elif "cpu" in controllers.split(","):
            root, files = groups / "cpu", ["cpu.cfs_quota_us", "cpu.cfs_period_us"]
        else:
            continue
        inner = root / path.lstrip("/")
        for folder in (inner, *(outer for outer in inner.parents if outer.is_relative_to(root))):
            try:
                quota, period = " ".join((folder / file).read_text() for file in files).split()
                if int(quota) > 0:
                    yield int(quota) / int(period)
            except (OSError, ValueError):  # not there, as in a container, or "max"
                continue

"""Sides that take turns, so that whatever else the machine does slows them alike; their time."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from rich.console import Console
from rich.progress import track

from infra.servers.process import sandboxes_cpu_seconds

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Spent:
    """Seconds of the wall, and of CPU: this process, its children that ended, and the sandboxes."""

    wall: float
    cpu: float

    def __sub__(self, other: Spent) -> Spent:
        return Spent(self.wall - other.wall, self.cpu - other.cpu)


def now() -> Spent:
    """What was spent up to now; of interest is the difference of two."""
    used = os.times()
    own = used.user + used.system + used.children_user + used.children_system
    return Spent(time.perf_counter(), own + sandboxes_cpu_seconds())


def timed(work: Callable[[], T]) -> tuple[T, Spent]:
    """The result of some work, and what it took."""
    before = now()
    result = work()
    return result, now() - before


def turns(sides: Sequence[T], count: int) -> Iterator[tuple[int, T]]:
    """Every side `count` times, in turn, with a progress bar; each turn begins with the next side.

    Yields:
        The number of the turn, from 0, and the side.
    """
    console = Console(stderr=True)
    for turn in track(range(count), "Rounds", console=console, transient=True):
        first = turn % len(sides)
        for side in [*sides[first:], *sides[:first]]:
            yield turn, side

"""What a shard costs, in CPU seconds, apart from its images.

A difference: the same ZIP is cropped in few shards and in many, by one worker and with no planning
run beside it. Counted are the worker with the processes of its runs, the server, and the call that
starts a run; what worker and server use with nothing to do in the same time is taken off.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.process import cpu_seconds
from benchmarks.server import Server, ended, submit

FEW, MANY = 1, 5  # shards
SHARE = 0.03  # most that a shard's overhead may be of what its images cost

_SETTLE_SECONDS = 8.0  # in which a run's process ends, and the server writes its last events
_IDLE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU seconds of the worker with its ended runs, of the server, and of submissions."""

    worker: float
    server: float
    submit: float

    def __sub__(self, other: Cost) -> Cost:
        return Cost(
            self.worker - other.worker, self.server - other.server, self.submit - other.submit
        )

    def __mul__(self, times: float) -> Cost:
        return Cost(self.worker * times, self.server * times, self.submit * times)

    @property
    def total(self) -> float:
        """All of it."""
        return self.worker + self.server + self.submit


@dataclass(frozen=True, slots=True)
class Overhead:
    """One way to start a run.

    Attributes:
        start: which way.
        shard: CPU seconds of a shard, apart from its images, in the middle round.
        image: CPU seconds of an image, with its share of what a chunk costs, median.
        shard_images: images in a shard whose overhead is `SHARE` of what they cost.
        rounds: CPU seconds of a shard in each round, in ascending order.
    """

    start: str
    shard: Cost
    image: float
    shard_images: int
    rounds: list[float]


class Meter:
    """Reads the CPU that a worker and the server have used.

    Attributes:
        idle: of both with nothing to do, CPU seconds a second.
    """

    def __init__(self, worker: int, server: Server) -> None:
        self._worker, self._server = worker, server
        time.sleep(_SETTLE_SECONDS)
        before = self.read()
        time.sleep(_IDLE_SECONDS)
        self.idle = (self.read() - before) * (1 / _IDLE_SECONDS)

    def read(self) -> Cost:
        """What both have used since they started, and this thread.

        Raises:
            RuntimeError: the system does not tell.
        """
        worker, server = cpu_seconds(self._worker), self._server.cpu_seconds()
        if worker is None or server is None:
            raise RuntimeError("This system has no /proc that tells the CPU time of processes.")
        return Cost(worker, server, time.thread_time())


def measure_overhead(
    archive: Path, images: int, starts: Mapping[str, Mapping[str, str]], rounds: int, meter: Meter
) -> list[Overhead]:
    """Measures some ways to start a run, each given by its job variables, in turn.

    Raises:
        RuntimeError: a run fails, or the archive cannot be cut.
    """
    found: dict[str, list[tuple[Cost, float]]] = {start: [] for start in starts}
    for number in range(rounds):
        for start, variables in starts.items():
            name = f"{number} {start}"
            few, little = _crop(archive, f"{name} few", images, FEW, variables, meter)
            many, much = _crop(archive, f"{name} many", images, MANY, variables, meter)
            if many == few:
                raise RuntimeError(f"{images} images are one chunk: take more --overhead-images.")
            shard = (much - little) * (1 / (many - few))
            found[start].append((shard, (little - shard * few).total / images))
    return [_overhead(start, measured) for start, measured in found.items()]


def least_images(shard: float, image: float) -> int:
    """Images in a shard, for its overhead to be `SHARE` of what they cost; CPU seconds of each."""
    return math.ceil(shard / (SHARE * image))


def _overhead(start: str, measured: Sequence[tuple[Cost, float]]) -> Overhead:
    shards = sorted((shard for shard, _ in measured), key=lambda shard: shard.total)
    shard = shards[len(shards) // 2]
    image = statistics.median(image for _, image in measured)
    rounds = [one.total for one in shards]
    return Overhead(start, shard, image, least_images(shard.total, image), rounds)


def _crop(
    archive: Path, output: str, images: int, shards: int, variables: Mapping[str, str], meter: Meter
) -> tuple[int, Cost]:
    """Crops the archive by runs of `crop-shard` alone: how many it took, and what they cost."""
    from tasks.batch import plan
    from tasks.settings import CropSettings, RunSettings
    from tasks.shards import plan_shards

    members = math.ceil(images / shards)
    settings = CropSettings(run=RunSettings(threads=1, shard_members=members))
    place = str(archive.with_name(output))
    planned = plan_shards(plan.fn(str(archive), place, settings)).shards
    before, began = meter.read(), time.monotonic()
    runs = [
        submit(
            "crop-shard/process",
            {
                "archive": str(archive),
                "output": place,
                "shard": shard.number,
                "settings": settings.model_dump(mode="json"),
            },
            **variables,
        )
        for shard in planned
    ]
    submitted = meter.read().submit
    ended(runs)
    time.sleep(_SETTLE_SECONDS)
    after, seconds = meter.read(), time.monotonic() - began
    used = Cost(after.worker, after.server, submitted) - before
    return len(planned), used - meter.idle * seconds

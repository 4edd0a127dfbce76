"""How long a batch takes on so many workers, and how many workers have it done by some time."""

from __future__ import annotations

import math
from datetime import datetime

from pydantic import AwareDatetime, BaseModel, ConfigDict

from pipeline.preview.estimate import Estimate, Figure

_MOST_WORKERS = 10_000


class Schedule(BaseModel):
    """An answer to "how long", and where a time was named, to "how many".

    Attributes:
        cores: of each worker, like those of the machine that the sample was cropped on.
        workers: that are asked about.
        seconds: that the batch takes on them.
        most_workers: more have nothing to do: a worker takes a shard at a time.
        by: when it is to be done.
        workers_by: how many it takes for that, by the estimate; None where no number does.
        workers_by_surely: the same by the upper bound of its interval.
    """

    model_config = ConfigDict(frozen=True)

    cores: int
    workers: int
    seconds: Figure
    most_workers: int
    by: AwareDatetime | None = None
    workers_by: int | None = None
    workers_by_surely: int | None = None


class Work(BaseModel):
    """A batch as work to be shared out.

    Attributes:
        before: seconds until the first member is cropped, however many workers there are.
        core_seconds: of one core, for all of it.
        members: in it.
        shard_members: in each of its shards, but for the last; 0 where it cannot be cut.
    """

    model_config = ConfigDict(frozen=True)

    before: float
    core_seconds: Figure
    members: float
    shard_members: int

    @classmethod
    def of(cls, told: Estimate, before: float, shard_members: int, *, whole: bool) -> Work:
        """That of an estimate; `whole` where the archive can only be read in order."""
        shards = 0 if whole else shard_members
        return cls(
            before=before,
            core_seconds=told.core_seconds,
            members=told.members.estimate,
            shard_members=shards,
        )

    @property
    def shards(self) -> int:
        """How many workers can share it."""
        return math.ceil(self.members / self.shard_members) if self.shard_members else 1

    def longest(self, workers: int) -> float:
        """The share of it that the busiest of some workers has."""
        if workers == 1 or self.shards == 1:
            return 1.0
        turns = math.ceil(self.shards / workers)
        return min(1.0, turns * self.shard_members / self.members)

    def seconds(self, workers: int, cores: int) -> Figure:
        """That it takes on so many workers, of so many cores each."""
        return self.core_seconds.times(self.longest(workers) / cores, self.before)

    def workers(self, seconds: float, cores: int, *, surely: bool) -> int | None:
        """How few workers have it done in so many seconds; None where no number has.

        Args:
            seconds: that there are.
            cores: of each worker.
            surely: whether by the upper bound, where there is one.
        """
        for count in range(1, min(self.shards, _MOST_WORKERS) + 1):
            took = self.seconds(count, cores)
            bound = took.high if surely and took.high is not None else took.estimate
            if bound <= seconds:
                return count
        return None


def schedule(work: Work, workers: int, cores: int, by: datetime | None, now: datetime) -> Schedule:
    """Answer both questions; see `Schedule` and `Work`."""
    left = 0.0 if by is None else (by - now).total_seconds()
    few, sure = (
        None if by is None else work.workers(left, cores, surely=surely) for surely in (False, True)
    )
    return Schedule(
        cores=cores,
        workers=workers,
        seconds=work.seconds(workers, cores),
        most_workers=work.shards,
        by=by,
        workers_by=few,
        workers_by_surely=sure,
    )

"""How far a batch is, counted image by image while chunks are still in flight."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass

from storage.archives.members import Archive
from storage.output.counts import Counts
from storage.output.manifest import MemberRow

_WINDOW_SECONDS = 30.0  # what "now" means in a rate: long enough to span a chunk's writing


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A batch at one moment.

    Attributes:
        counts: members accounted for, those of earlier runs of this batch included.
        total: members in the archive; None while that is not known (a compressed TAR).
        share: how much of the batch is done, 0 to 1.
        images_per_second: members a second over the last half minute.
        mean_images_per_second: the same since this run began.
        seconds_left: None where it cannot be told.
    """

    counts: Counts
    total: int | None
    share: float
    images_per_second: float
    mean_images_per_second: float
    seconds_left: float | None


class Progress:
    """The counts of a batch under way. Thread-safe."""

    def __init__(self, total: int | None, archive: Archive) -> None:
        self._lock = threading.Lock()
        self._archive = archive
        self._total = total
        self._began = time.monotonic()
        self._resumed = Counts()
        self._elsewhere: dict[str, Counts] = {}
        self._finished_elsewhere: dict[str, Counts] = {}
        self._done = Counts()
        self._in_flight: dict[int, Counts] = {}
        self._marks: deque[tuple[float, int]] = deque([(time.monotonic(), 0)])

    @property
    def resumed(self) -> int:
        """Members of chunks that earlier runs completed."""
        return self._resumed.members

    @property
    def has_gained(self) -> bool:
        """Whether a chunk, or a shard elsewhere, was completed since this run began."""
        with self._lock:
            return bool(self._done.members or self._finished_elsewhere)

    def resume(self, done: Counts) -> None:
        """Count chunks that an earlier run completed."""
        with self._lock:
            self._resumed = self._resumed + done

    def elsewhere(self, done: Mapping[str, Counts]) -> None:
        """Replace the count of what other workers, by name, have done of their shards so far."""
        with self._lock:
            self._elsewhere = dict(done)

    def finish_elsewhere(self, worker: str, done: Counts) -> None:
        """Count a shard that another worker has completed."""
        with self._lock:
            before = self._finished_elsewhere.get(worker, Counts())
            self._finished_elsewhere[worker] = before + done

    def by_worker(self, own: str) -> dict[str, int]:
        """Members done since this run began, by worker; `own` is the name of this run's."""
        with self._lock:
            here = sum(self._in_flight.values(), start=self._done)
            done = Counter({own: here.members})
            for others in (self._elsewhere, self._finished_elsewhere):
                done.update({name: totals.members for name, totals in others.items()})
        return dict(done)

    def begin(self, chunk: int) -> None:
        """A chunk is started, or started again: what it had counted so far counts no more."""
        with self._lock:
            self._in_flight[chunk] = Counts()

    def add(self, chunk: int, row: MemberRow) -> None:
        """One more member of a chunk is through."""
        with self._lock:
            self._in_flight[chunk].add(row)

    def commit(self, chunk: int) -> None:
        """A chunk's part is written."""
        with self._lock:
            self._done = self._done + self._in_flight.pop(chunk)

    def snapshot(self) -> Snapshot:
        """The state right now."""
        now = time.monotonic()
        with self._lock:
            here = sum(self._in_flight.values(), start=self._done)
            others = (*self._elsewhere.values(), *self._finished_elsewhere.values())
            worked = sum(others, start=here)
            counts = self._resumed + worked
            self._marks.append((now, worked.members))
            while len(self._marks) > 2 and now - self._marks[1][0] > _WINDOW_SECONDS:
                self._marks.popleft()
            since, before = self._marks[0]
        rate = (worked.members - before) / max(now - since, 1e-3)
        left = None
        if self._total is None:
            share = self._archive.share_read
            if share > 0:
                left = (now - self._began) * (1 - share) / share
        else:
            share = counts.members / self._total if self._total else 1.0
            if rate > 0:
                left = (self._total - counts.members) / rate
        mean = worked.members / max(now - self._began, 1e-3)
        return Snapshot(counts, self._total, share, rate, mean, left)


def describe(snapshot: Snapshot) -> str:
    """One line: how many of how many, how fast, how long still, how many failed."""
    counts, left = snapshot.counts, snapshot.seconds_left
    total = "" if snapshot.total is None else f" of {snapshot.total:,}"
    time_left = "" if left is None else f", {duration(left)} left"
    failed = f", {counts.failed:,} failed" if counts.failed else ""
    rate = f"{snapshot.images_per_second:,.1f} images/s"
    return f"{counts.members:,}{total} images, {rate}{time_left}{failed}"


def duration(seconds: float) -> str:
    """Seconds as `45 s`, `12 min 5 s` or `3 h 20 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def size_of(count: float) -> str:
    """Bytes as `999 B`, `1.2 MB`."""
    size, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if size < 1000:
            break
        size, unit = size / 1000, larger
    return f"{size:.1f} {unit}" if unit != "B" else f"{count:.0f} B"

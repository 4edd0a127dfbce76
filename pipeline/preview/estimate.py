"""What a whole batch would come to, with intervals, from the rows of a sample."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from pipeline.preview.cropping import Tried
from pipeline.preview.intervals import of_count, of_total
from pipeline.preview.sampling import Sampled
from pipeline.settings import MIB, CropSettings
from storage.archives.members import Archive, ChunkSize
from storage.archives.zip import REMOTE_PIECE
from storage.errors import SkipReason
from storage.output.counts import Status
from storage.output.manifest import encode_part

BESIDE = 1.15
"""CPU of a batch over that of decoding, finding and cutting: for reading, writing, isolation and
Prefect. By `benchmarks limit` 1.13 to 1.16 times; see docs/benchmarks.md."""

_TABLES_AND_OTHERS = 9  # objects that a batch writes once, such as manifest.parquet and report.html
_REPORT_CROPS = 400  # that a report reads again, at most


class Figure(BaseModel):
    """A quantity of a whole archive.

    Attributes:
        estimate: of it.
        low, high: an interval of 95 %; None where the sample is the beginning alone.
    """

    model_config = ConfigDict(frozen=True)

    estimate: float
    low: float | None
    high: float | None

    def times(self, factor: float, more: float = 0) -> Figure:
        """Another quantity that follows from it."""
        low, high = (
            None if bound is None else bound * factor + more for bound in (self.low, self.high)
        )
        return Figure(estimate=self.estimate * factor + more, low=low, high=high)

    @classmethod
    def known(cls, value: float) -> Figure:
        """One that is not estimated."""
        return cls(estimate=value, low=value, high=value)


class Requests(BaseModel):
    """What an object store is asked, where archive and output lie in one."""

    model_config = ConfigDict(frozen=True)

    reads: Figure
    writes: Figure


class Way(BaseModel):
    """What one profile would come to, on the same sample as the others.

    Attributes:
        profile: fast, balanced or thorough.
        faces_seen: in the sample.
        faces: in the archive.
        core_seconds: of one core.
    """

    model_config = ConfigDict(frozen=True)

    profile: str
    faces_seen: int
    faces: Figure
    core_seconds: Figure


class Estimate(BaseModel):
    """What a batch would come to.

    Attributes:
        members: in the archive.
        sampled: how many of them were read; all where that is `members`.
        of_beginning: whether these are its first ones: then no figure has an interval.
        faces, not_kept: faces, and those that the settings would not keep.
        cropped, no_face, skipped, failed: members.
        errors, skips: failed and skipped members by code.
        core_seconds: of one core, all that a batch costs beside cropping included.
        output_bytes: that it would write.
        requests: of an object store.
    """

    model_config = ConfigDict(frozen=True)

    members: Figure
    sampled: int
    of_beginning: bool
    faces: Figure
    not_kept: Figure
    cropped: Figure
    no_face: Figure
    skipped: Figure
    failed: Figure
    errors: dict[str, Figure]
    skips: dict[str, Figure]
    core_seconds: Figure
    output_bytes: Figure
    requests: Requests


@dataclass(frozen=True, slots=True)
class Scale:
    """From a sample to its archive.

    Attributes:
        sampled: members in the sample.
        members: in the archive; of a beginning, as many as there are if all are alike.
        of_beginning: whether nothing is known of how others differ.
    """

    sampled: int
    members: float
    of_beginning: bool

    @classmethod
    def of(cls, sampled: Sampled) -> Scale:
        """That of a sample that was read."""
        if sampled.members is not None:
            return cls(sampled.count, sampled.members, of_beginning=False)
        assert sampled.share
        return cls(sampled.count, sampled.count / sampled.share, of_beginning=True)

    def guessed(self, value: float) -> Figure:
        """A quantity that follows from the members in the archive, as far as these are known."""
        bound = None if self.of_beginning else value
        return Figure(estimate=value, low=bound, high=bound)

    def total(self, values: Iterable[float]) -> Figure:
        """The sum of a quantity over the archive, from that of each member of the sample."""
        values = list(values)
        if self.of_beginning:
            return self.guessed(sum(values) / self.sampled * self.members)
        estimate, low, high = of_total(values, int(self.members))
        return Figure(estimate=estimate, low=low, high=high)

    def count(self, found: int) -> Figure:
        """How many members of the archive are of a kind, from how many of the sample are."""
        if self.of_beginning:
            return self.guessed(found / self.sampled * self.members)
        estimate, low, high = of_count(found, self.sampled, int(self.members))
        return Figure(estimate=estimate, low=low, high=high)


def estimate(sampled: Sampled, tried: Sequence[Tried], settings: CropSettings) -> Estimate:
    """What the archive would come to.

    Args:
        sampled: that was read.
        tried: its members, with the settings that are chosen.
        settings: these.
    """
    scale = Scale.of(sampled)
    rows = [one.row for one in tried]
    by_status = Counter(row.status for row in rows)
    codes = {
        status: Counter(row.error for row in rows if row.status is status and row.error)
        for status in (Status.FAILED, Status.SKIPPED)
    }
    errors, skips = (
        {code: scale.count(found) for code, found in codes[status].most_common()}
        for status in codes
    )
    # twice: in the parts, and in the two tables
    tables = 2 * len(encode_part(rows)) / len(rows) * scale.members
    return Estimate(
        members=scale.guessed(scale.members),
        sampled=scale.sampled,
        of_beginning=scale.of_beginning,
        faces=scale.total(len(row.face_rows) for row in rows),
        not_kept=scale.total(row.not_kept for row in rows),
        cropped=scale.count(by_status[Status.CROPPED]),
        no_face=scale.count(by_status[Status.NO_FACE]),
        skipped=scale.count(by_status[Status.SKIPPED]),
        failed=scale.count(by_status[Status.FAILED]),
        errors=errors,
        skips=skips,
        core_seconds=core_seconds(scale, tried),
        output_bytes=scale.total(one.size for one in tried).times(1, tables),
        requests=_requests(scale, sampled.archive, tried, settings),
    )


def core_seconds(scale: Scale, tried: Iterable[Tried]) -> Figure:
    """Seconds of one core that a batch takes."""
    return scale.total(one.ms for one in tried).times(BESIDE / 1e3)


def _requests(
    scale: Scale, archive: Archive, tried: Sequence[Tried], settings: CropSettings
) -> Requests:
    """Those of an object store that holds the archive, or takes the output."""
    cut = settings.chunk.spelled_out(
        piecemeal=archive.piecemeal, shard_members=settings.run.shard_members
    )
    size = ChunkSize(cut.members, cut.mib * MIB)
    files = scale.total(one.files for one in tried)
    chunks: float
    if archive.members is None:  # it is read as it streams, and how it is cut nobody knows yet
        chunks = max(scale.members / size.members, 1.0)
        reads = scale.guessed(-(-archive.fingerprint.size // REMOTE_PIECE))
    else:
        chunks = pieces = 0
        for chunk in archive.chunks(size):
            chunks += 1
            pieces += -(-(chunk.end - chunk.start) // REMOTE_PIECE)
        one_by_one = archive.kind in ("folder", "list")
        # whether a file without a picture's name is one, only its bytes tell
        read = (
            one.row.status is not Status.SKIPPED or one.row.error == SkipReason.NOT_AN_IMAGE
            for one in tried
        )
        reads = scale.total(map(float, read)) if one_by_one else Figure.known(pieces)
    packed = settings.output.layout != "files"
    written = scale.guessed(chunks) if packed else files
    # of each chunk its part is written, and read at the end, and before its crops their names
    again = min(files.estimate, _REPORT_CROPS) + chunks
    return Requests(
        reads=reads.times(1, again), writes=written.times(1, 2 * chunks + _TABLES_AND_OTHERS)
    )

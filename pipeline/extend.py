"""A batch of a folder or list, and what has come to that since: which of it is to be worked on."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise

from storage.archives.grown import (
    GrownArchive,
    compare,
    files_of,
    files_of_members,
    listing_of,
    new_lot,
)
from storage.archives.members import Archive, ChunkSize
from storage.errors import OutputError
from storage.fs.fingerprint import Fingerprint
from storage.output.changes import Change
from storage.output.claim import Existing
from storage.output.counts import Counts
from storage.output.lots import Lot
from storage.output.output import Claim, Output


@dataclass(frozen=True, slots=True)
class Settled:
    """The beginning of a batch that is done and is not gone through again."""

    members: int = 0
    chunks: int = 0


NOTHING = Settled()


@dataclass(frozen=True, slots=True)
class Work:
    """What there is to do of a batch.

    Attributes:
        archive: with the members that follow those that are settled.
        settled: what precedes them.
        lots: how many the batch has; 0 where its archive does not grow.
        idle: it is finished, and nothing has come to it.
    """

    archive: Archive
    settled: Settled = NOTHING
    lots: int = 0
    idle: bool = False


def take_in(
    place: Output, archive: Archive, claim: Claim, existing: Existing, size: ChunkSize
) -> Work:
    """Find what is to do of a batch that was claimed; with `extend`, take in what is new.

    Args:
        place: its output.
        archive: as it is now. Resumed, it is what it was when the batch was last extended.
        claim: of the output.
        existing: what the run was asked for.
        size: of the batch's chunks.

    Raises:
        OutputError: it has changed in a way in which no batch is extended.
    """
    if listing_of(archive) is None:
        return Work(archive)
    if (count := place.count_lots()) <= 1 and existing != "extend":
        if not count:
            place.add_lot(0, Lot(files_of(archive, counted=True), 0, 0))
        return Work(archive, lots=1)
    lots = place.lots() or [_first_lot(place, archive, claim)]
    while existing == "extend" and lots[-1].files.fingerprint != archive.fingerprint:
        lots = _extended(place, archive, lots, claim.done, size)
    idle = existing == "extend" and _is_told(place, lots[-1].last)
    if len(lots) == 1:
        return Work(archive, lots=1, idle=idle)
    return _work(archive, lots, claim.done, idle=idle)


def without(archive: Archive, lots: Sequence[Lot], chunks: Collection[int]) -> Work:
    """What there is to do of a finished batch where only some of its chunks are wanted.

    Args:
        archive: as it was when the batch was last extended.
        lots: the batch's.
        chunks: numbers of those.
    """
    if len(lots) <= 1:
        return Work(archive, lots=len(lots))
    first = min(chunks, default=0)
    return _work(archive, lots, range(first))


def counts_before(place: Output, work: Work) -> Counts:
    """Counts of what is settled, and of all of it where nothing is to do."""
    if not work.idle and not work.settled.members:
        return Counts()
    finished = place.finished()
    if finished is not None and (work.idle or finished.members == work.settled.members):
        return finished
    return place.counts(range(work.settled.chunks))


def _work(
    archive: Archive, lots: Sequence[Lot], done: Collection[int], *, idle: bool = False
) -> Work:
    count = 0
    for lot, following in pairwise(lots):
        if not all(number in done for number in range(lot.chunk, following.chunk)):
            break
        count += 1
    settled = Settled(lots[count].first, lots[count].chunk)
    return Work(GrownArchive(archive, lots, count), settled, len(lots), idle)


def _extended(
    place: Output, archive: Archive, lots: list[Lot], done: set[int], size: ChunkSize
) -> list[Lot]:
    """The lots of a batch with one more, of what is new; by another run where that was quicker."""
    found = compare(lots, files_of(archive, counted=False))
    lot = new_lot(archive, lots, _count_chunks(place, archive, lots, done, size), found.new)
    # before it: once the lot is there, no run looks for them again
    place.put_changes(found.changes)
    return [*lots, lot] if place.add_lot(len(lots), lot) else place.lots()


def _count_chunks(
    place: Output, archive: Archive, lots: Sequence[Lot], done: set[int], size: ChunkSize
) -> int:
    """How many chunks a batch has so far."""
    finished = place.finished()
    if finished is not None and finished.members == lots[-1].last:
        return len(done)
    last = GrownArchive(archive, lots, len(lots) - 1).chunks(size)
    return lots[-1].chunk + sum(1 for _ in last)


def _first_lot(place: Output, archive: Archive, claim: Claim) -> Lot:
    """The lot of a batch that has none yet: it is new, or an older Facecrop made it."""
    then = Fingerprint(claim.record["archive"]["size"], claim.record["archive"]["version"])
    if then == archive.fingerprint:
        lot = Lot(files_of(archive, counted=True), 0, 0)
    elif place.finished() is None:
        raise OutputError(
            f"{place.uri} holds a batch that an older Facecrop began and did not finish, and "
            f"{archive.uri} has changed since. Name another output."
        )
    else:
        lot = Lot(files_of_members(place.paths(), archive, then), 0, 0)
    place.add_lot(0, lot)
    return lot


def _is_told(place: Output, members: int) -> bool:
    """Whether a batch is finished with all its members, and all that is known of it written."""
    finished = place.finished()
    if finished is None or finished.members != members or not place.is_reported():
        return False
    counted = place.changes()
    return (counted[Change.GONE], counted[Change.CHANGED]) == (finished.gone, finished.changed)

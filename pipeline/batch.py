"""A batch under way: its archive opened, its output claimed, its progress counted."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import version
from typing import Any
from uuid import uuid4

from pipeline.duplicates import check_dedupe, with_copies
from pipeline.extend import NOTHING, Settled, counts_before, take_in, without
from pipeline.member import CroppedMember
from pipeline.naming import check_names
from pipeline.progress import Progress
from pipeline.settings import MIB, ChunkSettings, CropSettings, LimitSettings, RunSettings
from pipeline.summary import Summary
from storage.archives.listing import UriList
from storage.archives.members import Archive, Chunk, ChunkSize, Limits
from storage.archives.nested import NestedArchive
from storage.archives.opening import open_archive
from storage.archives.plan import decode_chunks
from storage.errors import OutputError
from storage.fs.fingerprint import Fingerprint, changed
from storage.fs.redact import hides, shown
from storage.output.claim import GROWING
from storage.output.counts import Counts
from storage.output.lots import Lot
from storage.output.output import Output
from storage.roster import Roster, read_roster

CROPS_SHOWN = 40
_THUMBNAIL = 240  # pixels: twice what a contact sheet shows
_IDLE = "nothing new: the batch has all that is there"
_FORMAT = 3  # of the output folder; raised when an older Facecrop cannot go on with a batch
_VERSIONS = ("facecrop", "onnxruntime", "opencv-python-headless", "pillow", "simplejpeg")


class Batch:
    """What every task of one run shares. Lives in memory only, and is never serialized.

    No dataclass: Prefect would search its fields for futures at every task run.

    Attributes:
        id: of the batch, the same in each run that works on it.
        archive, output, settings: of the batch.
        progress: what its tasks have counted.
        done: numbers of the chunks that earlier runs completed.
        settled: what precedes the archive's members and is done, where it was extended.
        lots: how often it was extended, and 1; 0 where its archive does not grow.
        idle: it is finished, and nothing has come to it.
        first_crops: some of the first crops that this run made, encoded, to be shown; of blurred
            photographs, small ones.
        stop: set when the run is ending early; chunks in flight are then given up.
    """

    def __init__(
        self,
        number: str,
        archive: Archive,
        output: Output,
        settings: CropSettings,
        done: set[int],
        members: int | None,
        settled: Settled = NOTHING,
        lots: int = 0,
        *,
        idle: bool = False,
    ) -> None:
        self.id = number
        self.archive = archive
        self.settled = settled
        self.lots = lots
        self.idle = idle
        self.output = output
        self.settings = settings
        self.progress = Progress(members, archive)
        self.done = done
        self.first_crops: deque[bytes] = deque(maxlen=CROPS_SHOWN)
        self.stop = threading.Event()

    def show(self, member: CroppedMember) -> None:
        """Keep crops of a member to be shown, until there are enough."""
        if len(self.first_crops) >= CROPS_SHOWN:
            return
        self.first_crops.extend(member.crops)
        if member.photo and member.row.face_rows:  # others come from the archive as they are
            from detection.contact_sheet import PHOTO_PIXELS, thumbnail  # brings the codecs

            small = thumbnail(member.photo, _THUMBNAIL, PHOTO_PIXELS)
            self.first_crops.extend([] if small is None else [small])

    def chunks(self) -> Iterator[Chunk]:
        """What is to be gone through: the archive's chunks, or nothing where nothing is to do."""
        if self.idle:
            return iter(())
        chunks = self.archive.chunks(self.chunk_size)
        if self.settings.input.dedupe == "no":
            return chunks
        return with_copies(chunks, self.archive, self.output, self.done)

    def finish(self, members: int, chunks: int) -> Counts:
        """Write the tables.

        Args:
            members: how many have been gone through, in how many `chunks`.

        Raises:
            AccountingError: not every member is there exactly once.
        """
        if self.idle:
            return self.output.totals()
        members, chunks = self.settled.members + members, self.settled.chunks + chunks
        return self.output.finish(members, chunks, self.notes, self.roster)

    def summary(self, totals: Counts, resumed: int | None, seconds: float) -> Summary:
        """What has come of it; the arguments are those of `Summary.of`."""
        return Summary.of(
            self.archive.uri,
            self.output.uri,
            totals,
            resumed,
            seconds,
            [*self.output.notes(), _IDLE] if self.idle else self.notes,
            blurred=self.settings.covers is not None,
        )

    @property
    def notes(self) -> list[str]:
        """What a person should know of its archive and its roster, a line each."""
        return [*self.archive.notes, *(self.roster.notes if self.roster else ())]

    @cached_property
    def roster(self) -> Roster | None:
        """Who is on its photographs, where there is a list of that; read when it is needed."""
        return roster_of(self.settings)

    @property
    def chunk_size(self) -> ChunkSize:
        """Where the archive is to be cut."""
        return ChunkSize(self.settings.chunk.members, self.settings.chunk.mib * MIB)


def plan(
    archive: str,
    output: str,
    settings: CropSettings,
    run: str = "",
    asked: datetime | None = None,
) -> Batch:
    """Open the archive, read its index and claim the output for it.

    Args:
        archive, output, settings: of the batch.
        run: id of the run that claims the output, however often it has begun; "" for none.
        asked: when the run was asked for; None for now.

    Raises:
        ArchiveError, OutputError: in one line, what is wrong and what to do.
    """
    opened = open_archive(archive, limits_of(settings), names=settings.input.name_encoding)
    place = Output(output)
    refuse_inside(place, opened)
    roster = roster_of(settings)
    if roster is not None:
        noted = {"file": roster.uri, "sha256": roster.sha256}
        settings = settings.model_copy(update={"roster": settings.roster.model_copy(update=noted)})
    check_names(opened, settings, roster)
    check_dedupe(opened, settings)
    cut = settings.chunk.spelled_out(
        piecemeal=opened.piecemeal, shard_members=settings.run.shard_members
    )
    begun = settings.model_copy(update={"chunk": cut})
    defaults = CropSettings().identity()
    existing = settings.run.existing
    # of a batch that goes on with more lots, nothing is opened that it has done
    counted = opened.kind not in GROWING or existing == "overwrite" or not place.is_begun()
    record = record_of(opened, begun, run, asked or datetime.now(UTC), counted=counted)
    claim = place.claim(record, existing, defaults, lambda: sources_of(opened, roster))
    kept = ChunkSettings.model_validate(claim.record["settings"]["chunk"])
    settings = settings.model_copy(update={"chunk": kept})
    if (names := claim.record.get("names", opened.names)) != opened.names:
        # it was begun with another guess, perhaps by another version of what guesses
        opened = open_archive(archive, limits_of(settings), names=names)
    work = take_in(place, opened, claim, existing, ChunkSize(kept.members, kept.mib * MIB))
    if work.lots <= 1 and not work.idle:
        refuse_other_members(place, claim.record, opened)
    before = counts_before(place, work)
    members = work.archive.members if not work.idle else 0
    batch = Batch(
        claim.record["id"],
        work.archive,
        place,
        settings,
        claim.done,
        None if members is None else before.members + members,
        work.settled,
        work.lots,
        idle=work.idle,
    )
    batch.progress.resume(before)
    batch.roster = roster
    return batch


def refuse_inside(place: Output, archive: Archive) -> None:
    """Raise OutputError where an output lies in the folder that its batch is to be made of."""
    if archive.kind == "folder" and place.lies_in(archive.uri):
        raise OutputError(
            f"{place.uri} lies in {archive.uri}, so its crops would be taken for photographs. "
            "Name an output elsewhere."
        )


def open_shard(
    archive: str, output: str, shard: int, settings: CropSettings, batch: str = ""
) -> tuple[Batch, list[Chunk]]:
    """Open one shard of a batch that another run has planned: no index is read.

    Args:
        archive, output, settings: the batch's.
        shard: its number.
        batch: the id of the batch that it was planned for; "" where its planner is older.

    Raises:
        ArchiveError: the archive is not the one that was planned.
        OutputError: there is no batch at the output, or one that this version cannot work on.
    """
    place = Output(output)
    record = place.join()
    if batch and record["id"] != batch:
        raise OutputError(f"{place.uri} has become another batch's since this shard was planned.")
    chunks = decode_chunks(place.plan(shard))
    members = sum(chunk.count for chunk in chunks)
    then = _recorded(record)
    if record["archive"].get("kind") == "list" and (lots := place.lots()):
        then = lots[-1].files.fingerprint
    opened = open_archive(archive, limits_of(settings), then)
    return Batch(record["id"], opened, place, settings, place.parts(), members), chunks


def reopen(
    output: str, settings: RunSettings, limits: LimitSettings | None = None
) -> tuple[Batch, set[int]]:
    """Open a finished batch for its failed members, with the settings that it was made with.

    Args:
        output: the batch's.
        settings: how this run is to work; that changes no result.
        limits: those that it sets are raised for this run. What is kept of the batch stays as it
            is, as a higher limit changes no member that was not stopped by a lower one.

    Returns:
        The batch, none of whose chunks count as done, and the numbers of those with failures.

    Raises:
        ArchiveError: the archive is gone, or no longer the one that the batch was made of.
        OutputError: there is no finished batch at the output, or its archive's URI had a secret.
    """
    place = Output(output)
    record = place.join()
    if "recrop" in record:
        raise OutputError(
            f"{place.uri} was cut from the faces of {record['recrop']['output']}: retry what "
            "failed there, and run the recrop again."
        )
    opened, made_with, lots = open_again(place, record, settings, limits)
    failed = place.failed_chunks()
    work = without(opened, lots, failed)
    if work.lots <= 1:
        refuse_other_members(place, record, opened)
    members = sum(failed.values())
    about = work.settled, work.lots
    batch = Batch(record["id"], work.archive, place, made_with, set(), members, *about)
    return batch, set(failed)


def open_again(
    place: Output,
    record: dict[str, Any],
    settings: RunSettings,
    limits: LimitSettings | None = None,
) -> tuple[Archive, CropSettings, list[Lot]]:
    """Open the archive that a batch was made of; give the settings that it was made with, its lots.

    Args:
        place, record: the batch's output, and what its `batch.json` says.
        settings, limits: as `reopen` has them.

    Raises:
        ArchiveError: the archive is gone, or no longer the one that the batch was made of.
        OutputError: its URI had a secret.
    """
    uri = record["archive"]["uri"]
    if hides(uri):
        raise OutputError(
            f"{place.uri} was made of {uri}, and what is hidden there was not kept to open it "
            "again. Crop the archive again, into another output."
        )
    made_with = CropSettings.model_validate({**record["settings"], "run": settings})
    if hides(made_with.roster.file):
        raise OutputError(
            f"{place.uri} has the roster {made_with.roster.file}, and what is hidden there was not "
            "kept to open it again. Crop the archive again, into another output."
        )
    if limits is not None:
        made_with = made_with.model_copy(update={"limits": made_with.limits.raised(limits)})
    names = record.get("names", made_with.input.name_encoding)
    opened = open_archive(uri, limits_of(made_with), names=names)
    lots = place.lots() if record["archive"].get("kind") in GROWING else []
    if opened.fingerprint != (lots[-1].files.fingerprint if lots else _recorded(record)):
        raise changed(opened.uri)
    return opened, made_with, lots


def refuse_other_members(place: Output, record: dict[str, Any], archive: Archive) -> None:
    """Raise OutputError where the same archive shows other members than it did to its batch.

    An archive within it can be read by now, or no more: then all that follows has other numbers.
    """
    before, now = record["members"], archive.members
    if None not in (before, now) and before != now:
        raise OutputError(
            f"{place.uri} was made of {before:,} members, and {archive.uri} has {now:,} now: "
            "archives in it were opened that are not today, or the other way round. "
            "Name another output."
        )


def roster_of(settings: CropSettings) -> Roster | None:
    """The roster that settings name; None where they name none.

    Raises:
        StorageError: it cannot be used, or is another than the batch was begun with.
    """
    asked = settings.roster
    if not asked.file:
        return None
    return read_roster(asked.file, asked.key, asked.sha256, settings.input.redirects)


def limits_of(settings: CropSettings) -> Limits:
    """What a reader of a batch's archive never goes beyond."""
    bounds = settings.limits
    return Limits(
        bounds.max_member_mib * MIB,
        nested=settings.input.nested,
        nested_bytes=bounds.max_nested_mib * MIB,
        skip_system=settings.input.skip_system == "yes",
        follow_links=settings.input.follow_links == "yes",
        names=settings.input.name_encoding,
        redirects=settings.input.redirects,
    )


def _recorded(record: dict[str, Any]) -> Fingerprint:
    """The fingerprint of the archive that a batch was planned for."""
    return Fingerprint(record["archive"]["size"], record["archive"]["version"])


def sources_of(archive: Archive, roster: Roster | None) -> Iterator[str]:
    """Every place that a batch reads: its archive, what a list's lines lead to, its roster."""
    yield archive.uri
    if roster is not None:
        yield roster.uri
    outer = archive.outer if isinstance(archive, NestedArchive) else archive
    if isinstance(outer, UriList):
        yield from outer.places()


def record_of(
    archive: Archive, settings: CropSettings, run: str, asked: datetime, *, counted: bool
) -> dict[str, Any]:
    """What `batch.json` says. `format`, `archive` and `settings` are the batch's identity.

    The output may be shown to people, so the URI is kept without its secrets. One that was signed
    again is the same archive then: its size and version tell it from others.
    """
    return {
        "format": _FORMAT,
        "id": str(uuid4()),
        # a run that crashed finds its own claim again, and does not overwrite a newer batch
        "run": run,
        "asked": asked.astimezone(UTC).isoformat(timespec="seconds"),
        "archive": {
            "uri": shown(archive.uri),
            "kind": archive.kind,
            "size": archive.fingerprint.size,
            "version": archive.fingerprint.version,
        },
        "settings": settings.identity(),
        "members": archive.members if counted else None,
        "names": archive.names,
        "versions": {name: version(name) for name in _VERSIONS},
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }

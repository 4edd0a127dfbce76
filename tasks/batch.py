"""A batch in hand: its archive opened, its output claimed, its progress counted."""

from __future__ import annotations

import threading
from collections import deque
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any
from uuid import uuid4

from prefect import task
from prefect.cache_policies import NO_CACHE

from storage.archive import open_archive
from storage.errors import OutputError
from storage.location import changed
from storage.members import Archive, Chunk, ChunkSize, Fingerprint, Limits
from storage.output import Output
from storage.plan import decode_chunks
from storage.redact import hides, shown
from tasks.limits import StoreSlots
from tasks.progress import Progress
from tasks.retries import RETRY_TRANSIENT
from tasks.settings import MIB, ChunkSettings, CropSettings, RunSettings

CROPS_SHOWN = 40
_FORMAT = 1  # of the output folder; raised when a newer Facecrop could not resume an older batch
_VERSIONS = ("facecrop", "onnxruntime", "opencv-python-headless", "pillow", "simplejpeg")


class Batch:
    """What every task of one run shares. Lives in memory only, and is never serialized.

    No dataclass: Prefect would search its fields for futures at every task run.

    Attributes:
        id: of the batch, the same in each run that works on it.
        archive, output, settings: of the batch.
        progress: what its tasks have counted.
        store: slots for its chunks, where it uses an object store.
        done: numbers of the chunks that earlier runs completed.
        first_crops: some of the first crops that this run made, encoded, for people to look at.
        stop: set when the run is ending early; chunks in hand are then given up.
    """

    def __init__(
        self,
        number: str,
        archive: Archive,
        output: Output,
        settings: CropSettings,
        done: set[int],
        members: int | None,
    ) -> None:
        self.id = number
        self.archive = archive
        self.output = output
        self.settings = settings
        self.progress = Progress(members, archive)
        self.store = StoreSlots(archive.uri, output.uri)
        self.done = done
        self.first_crops: deque[bytes] = deque(maxlen=CROPS_SHOWN)
        self.stop = threading.Event()

    def show(self, crops: list[bytes]) -> None:
        """Keeps crops for people to look at, until there are enough."""
        if len(self.first_crops) < CROPS_SHOWN:
            self.first_crops.extend(crops)

    @property
    def chunk_size(self) -> ChunkSize:
        """Where the archive is to be cut."""
        return ChunkSize(self.settings.chunk.members, self.settings.chunk.mib * MIB)


@task(name="plan", task_run_name="plan", cache_policy=NO_CACHE, **RETRY_TRANSIENT)
def plan(archive: str, output: str, settings: CropSettings) -> Batch:
    """Opens the archive, reads its index and claims the output for it.

    Raises:
        ArchiveError, OutputError: in one line, what is wrong and what to do.
    """
    opened = open_archive(archive, Limits(settings.limits.max_member_mib * MIB))
    place = Output(output)
    if opened.kind == "folder" and place.lies_in(archive):
        raise OutputError(
            f"{place.uri} lies in {archive}, so its crops would be taken for photographs. "
            "Name an output elsewhere."
        )
    cut = settings.chunk.spelled_out(
        piecemeal=opened.piecemeal, shard_members=settings.run.shard_members
    )
    begun = settings.model_copy(update={"chunk": cut})
    defaults = CropSettings().identity()
    claim = place.claim(_record(opened, begun), settings.run.existing, defaults)
    kept = ChunkSettings.model_validate(claim.record["settings"]["chunk"])
    settings = settings.model_copy(update={"chunk": kept})
    return Batch(claim.record["id"], opened, place, settings, claim.done, opened.members)


@task(name="open", task_run_name="open shard {shard}", cache_policy=NO_CACHE, **RETRY_TRANSIENT)
def open_shard(
    archive: str, output: str, shard: int, settings: CropSettings
) -> tuple[Batch, list[Chunk]]:
    """Takes up one shard of a batch that another run has planned: no index is read.

    Raises:
        ArchiveError: the archive is not the one that was planned.
        OutputError: there is no batch at the output, or one that this version cannot work on.
    """
    place = Output(output)
    record = place.record()
    if record["format"] != _FORMAT:
        raise OutputError(
            f"{place.uri} was begun by another version of Facecrop, which has to go on with it: "
            f"its format is {record['format']}, not {_FORMAT}."
        )
    known = Fingerprint(record["archive"]["size"], record["archive"]["version"])
    limits = Limits(settings.limits.max_member_mib * MIB)
    chunks = decode_chunks(place.plan(shard))
    members = sum(chunk.count for chunk in chunks)
    opened = open_archive(archive, limits, known)
    return Batch(record["id"], opened, place, settings, place.parts(), members), chunks


@task(name="reopen", task_run_name="reopen", cache_policy=NO_CACHE, **RETRY_TRANSIENT)
def reopen(output: str, settings: RunSettings) -> tuple[Batch, set[int]]:
    """Takes up a finished batch for its failed members, with the settings that it was made with.

    Args:
        output: the batch's.
        settings: how this run is to work; that changes no result.

    Returns:
        The batch, none of whose chunks count as done, and the numbers of those with failures.

    Raises:
        ArchiveError: the archive is gone, or no longer the one that the batch was made of.
        OutputError: there is no finished batch at the output, or its archive's URI had a secret.
    """
    place = Output(output)
    record = place.record()
    uri = record["archive"]["uri"]
    if hides(uri):
        raise OutputError(
            f"{place.uri} was made of {uri}, and what is hidden there was not kept to open it "
            "again. Crop the archive anew, into another output."
        )
    made_with = CropSettings.model_validate({**record["settings"], "run": settings})
    limits = Limits(made_with.limits.max_member_mib * MIB)
    known = Fingerprint(record["archive"]["size"], record["archive"]["version"])
    opened = open_archive(uri, limits)
    if opened.fingerprint != known:
        raise changed(opened.uri)
    failed = place.failed_chunks()
    members = sum(failed.values())
    return Batch(record["id"], opened, place, made_with, set(), members), set(failed)


def _record(archive: Archive, settings: CropSettings) -> dict[str, Any]:
    """What `batch.json` says. `format`, `archive` and `settings` are the batch's identity.

    The output may be shown to people, so the URI is kept without its secrets. One that was signed
    anew is the same archive then: its size and version tell it from others.
    """
    return {
        "format": _FORMAT,
        "id": str(uuid4()),
        "archive": {
            "uri": shown(archive.uri),
            "kind": archive.kind,
            "size": archive.fingerprint.size,
            "version": archive.fingerprint.version,
        },
        "settings": settings.identity(),
        "members": archive.members,
        "versions": {name: version(name) for name in _VERSIONS},
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }

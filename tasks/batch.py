"""A batch in hand: its archive opened, its output claimed, its progress counted."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from storage.archive import open_archive
from storage.errors import OutputError
from storage.members import Archive, ChunkSize, Limits
from storage.output import Output
from tasks.progress import Progress
from tasks.retries import RETRY_TRANSIENT
from tasks.settings import MIB, CropSettings

_FORMAT = 1  # of the output folder; raised when a newer Facecrop could not resume an older batch
_VERSIONS = ("facecrop", "onnxruntime", "opencv-python-headless", "pillow", "simplejpeg")


class Batch:
    """What every task of one run shares. Lives in memory only, and is never serialized.

    No dataclass: Prefect would search its fields for futures at every task run.

    Attributes:
        archive, output, settings: of the batch.
        progress: what its tasks have counted.
        done: numbers of the chunks that earlier runs completed.
        stop: set when the run is ending early; chunks in hand are then given up.
    """

    def __init__(
        self, archive: Archive, output: Output, settings: CropSettings, done: set[int]
    ) -> None:
        self.archive = archive
        self.output = output
        self.settings = settings
        self.progress = Progress(archive)
        self.done = done
        self.stop = threading.Event()

    @property
    def chunk_size(self) -> ChunkSize:
        """Where the archive is to be cut."""
        return ChunkSize(self.settings.chunk.members, self.settings.chunk.mib * MIB)


@task(name="plan", task_run_name="plan {archive}", cache_policy=NO_CACHE, **RETRY_TRANSIENT)
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
    done = place.claim(_record(opened, settings), settings.run.existing)
    return Batch(opened, place, settings, done)


def _record(archive: Archive, settings: CropSettings) -> dict[str, Any]:
    """What `batch.json` says. `format`, `archive` and `settings` are the batch's identity."""
    return {
        "format": _FORMAT,
        "archive": {
            "uri": archive.uri,
            "kind": archive.kind,
            "size": archive.fingerprint.size,
            "version": archive.fingerprint.version,
        },
        "settings": settings.identity(),
        "members": archive.members,
        "versions": {name: version(name) for name in _VERSIONS},
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }

"""What is old in the store of the HTTP service and needed by nothing, and its removal."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from prefect.client.orchestration import SyncPrefectClient

from intake.control.oldruns import batches, unfinished, watched_inboxes
from intake.control.records import Record, upload_of
from intake.control.store import BATCHES, PREVIEWS, RECORDS, UPLOADS, part_name
from pipeline.preview.run import PAGE, TOLD, files_in
from storage.errors import ArchiveError, OutputError
from storage.fs.faults import translated
from storage.fs.location import probe, resolve
from storage.mark import check_marked
from storage.output.layout import BATCH, MANIFEST
from storage.output.output import Output
from storage.sweep import CutOff, Shelf, Stored

_DAY = 86_400.0  # seconds
_UPLOAD = re.compile(r"[0-9a-f]{32}")
NO_RECORD = "no record says that the HTTP service wrote it"
_NOT_WRITTEN = "not written by Facecrop, or changed since it was listed"


@dataclass(frozen=True, slots=True)
class Old:
    """Something in the store that may go.

    Attributes:
        place: its path below the store.
        bytes: that it takes.
        days: since it was last written; of a batch, since it was begun.
        why: it may go.
        remove: does it, and gives the bytes that are gone and the paths in it that stay.
    """

    place: str
    bytes: int
    days: float
    why: str
    remove: Callable[[], tuple[int, list[str]]]


@dataclass(frozen=True, slots=True)
class Left:
    """Something in the store that stays, as nothing tells that it is Facecrop's.

    Attributes:
        place: its path below the store.
        why: it stays.
    """

    place: str
    why: str


def remove_old(client: SyncPrefectClient, old: list[Old]) -> tuple[list[Old], int, list[Left]]:
    """Remove all but what has been begun to be used meanwhile.

    Returns:
        What it has removed, its bytes, and what is left of it.
    """
    removed, size, left = [], 0, []
    for one in old:
        if _parts(one.place)[1] in busy_names(client):
            continue
        gone, stay = one.remove()
        left += [Left(f"{one.place}/{path}", _NOT_WRITTEN) for path in stay]
        removed += [one] if gone or not stay else []
        size += gone
    return removed, size, left


def find_old(
    client: SyncPrefectClient,
    store: str,
    days: float,
    *,
    outputs: bool,
    warn: Callable[[str], None],
) -> Iterator[Old | Left]:
    """What may go, and what stays as nothing tells whose it is.

    Args:
        store: folder or prefix.
        days: how long ago it ended, or was written.
        outputs: whether the outputs of finished batches may go, too.
        warn: called with a line where the store does not tell all.

    Raises:
        StorageError: there is no such store, or it is not marked as one.
    """
    store = store.rstrip("/")
    Shelf(store, UPLOADS).names()  # whether there is such a store comes first
    check_marked(store)
    busy = busy_names(client)
    yield from old_uploads(client, store, busy, days, time.time(), warn)
    yield from old_previews(Shelf(store, PREVIEWS), days, time.time())
    if outputs:
        yield from old_batches(client, Shelf(store, BATCHES), busy, days)


def old_uploads(
    client: SyncPrefectClient,
    store: str,
    busy: set[str],
    days: float,
    now: float,
    warn: Callable[[str], None],
) -> Iterator[Old | Left]:
    """Uploads that are older than so many days, or than one day if no batch was ever made of them.

    Only what is on record goes, see `intake.control.records`; the rest is named.

    Days are those since the last of it was written; `now` is in seconds since 1970. `warn` is
    called with a line where the store does not tell which uploads are incomplete.
    """
    shelf, known = Shelf(store, UPLOADS), _used(client, busy)
    noted = {upload_of(file): at.written for file, at in Shelf(store, RECORDS).files().items()}
    noted = {name: at for name, at in noted.items() if _UPLOAD.fullmatch(name)}
    unfinished = _unfinished(shelf, warn)
    for name in sorted({*shelf.names(), *noted, *(unfinished or ())}):
        if name in busy or (unfinished is None and name not in known):
            continue  # the latter may be coming this moment, for all that the store tells
        place, record = f"{UPLOADS}/{name}", Record(store, name)
        with translated(f"{store}/{place}", "read the record of", OutputError):
            names = record.read() if name in noted else None
        if names is None:
            yield Left(place, NO_RECORD)
            continue
        ours = names | {part_name(one) for one in names}
        files = {file: at for file, at in shelf.files(name).items() if file in ours}
        parts = (unfinished or {}).get(name, [])
        times = [*(file.written for file in files.values()), *map(shelf.last_part, parts)]
        age = (now - max(times, default=max(noted[name], shelf.made(name)))) / _DAY
        if age > (days if name in known else 1):
            why = "its batch has ended" if name in known else "no batch uses it"
            size = sum(file.bytes for file in files.values())
            parts = [one for one in parts if _parts(one.name)[1:] in ([own] for own in names)]
            gone = partial(_remove_upload, shelf, name, files, parts, record)
            yield Old(place, size, age, why, gone)


def _unfinished(shelf: Shelf, warn: Callable[[str], None]) -> dict[str, list[CutOff]] | None:
    """The incomplete objects by upload; None where the store does not tell."""
    found: dict[str, list[CutOff]] = {}
    try:
        for one in shelf.cut_off():
            found.setdefault(_parts(one.name)[0], []).append(one)
    except OutputError as error:  # not every S3-compatible store lists them, nor lets everybody
        warn(f"{error}; uploads that no batch uses are left out")
        return None
    return found


def _remove_upload(
    shelf: Shelf, name: str, files: dict[str, Stored], parts: list[CutOff], record: Record
) -> tuple[int, list[str]]:
    left = shelf.remove(name, files)
    for one in parts:
        shelf.abort(one)
    if not files.keys() & set(left):
        with translated(f"{shelf.uri}/{name}", "remove the record of", OutputError):
            record.remove()
    return sum(file.bytes for path, file in files.items() if path not in left), left


def old_previews(shelf: Shelf, days: float, now: float) -> Iterator[Old | Left]:
    """Previews that were written more than so many days ago; `now` is in seconds since 1970."""
    for name in shelf.names():
        files = shelf.files(name)
        own = zip((PAGE, TOLD), files_in(f"{shelf.uri}/{name}"), strict=True)
        # a link leads elsewhere, and has no version
        plain = {file: one for file, one in own if file in files and files[file].version}
        ours = {file: files[file] for file, one in plain.items() if one.is_ours()}
        if not ours:
            yield Left(f"{PREVIEWS}/{name}", "no preview of Facecrop's")
            continue
        age = (now - max(file.written for file in ours.values())) / _DAY
        if age > days:
            size = sum(file.bytes for file in ours.values())
            gone = partial(_remove_preview, shelf, name, ours)
            yield Old(f"{PREVIEWS}/{name}", size, age, "a preview", gone)


def _remove_preview(shelf: Shelf, name: str, files: dict[str, Stored]) -> tuple[int, list[str]]:
    left = shelf.remove(name, files)
    return sum(file.bytes for path, file in files.items() if path not in left), left


def old_batches(
    client: SyncPrefectClient, shelf: Shelf, busy: set[str], days: float
) -> Iterator[Old | Left]:
    """Finished batches that were begun more than so many days ago."""
    inboxes = watched_inboxes(client)
    now = datetime.now(UTC)
    for name in shelf.names():
        if name in busy:
            continue
        try:
            output = Output(f"{shelf.uri}/{name}")
            record = output.record()
            archive = str(record["archive"]["uri"])
            age = (now - datetime.fromisoformat(record["created"])) / timedelta(days=1)
        except (OutputError, LookupError, TypeError, ValueError):
            yield Left(f"{BATCHES}/{name}", "no batch of Facecrop's")
            continue
        if age <= days or output.size(MANIFEST) is None:
            continue
        if any(archive.startswith(inbox) for inbox in inboxes) and _is_there(archive):
            continue  # without its batch it would be a new one, and be cropped again
        gone = partial(_remove_batch, shelf, name, record)
        yield Old(f"{BATCHES}/{name}", shelf.size(name), age, "finished", gone)


def _remove_batch(shelf: Shelf, name: str, record: dict[str, Any]) -> tuple[int, list[str]]:
    """Remove what Facecrop wrote for a batch, unless another has been begun there meanwhile."""
    output, before = Output(f"{shelf.uri}/{name}"), shelf.size(name)
    if output.record() != record:
        return 0, [BATCH]
    inside = output.remove()
    left = sorted({*inside, *(one for one in shelf.left(name) if not one.endswith("/"))})
    return before - (shelf.size(name) if left else 0), left


def busy_names(client: SyncPrefectClient) -> set[str]:
    """Every name on the way to an archive or output that a run uses which has not ended.

    They are compared one by one: the same place may be called differently elsewhere.
    """
    return {
        part
        for run in unfinished(client)
        for name in ("archive", "output", "batch")
        for part in _parts(str(run.parameters.get(name) or ""))
    }


def _used(client: SyncPrefectClient, busy: set[str]) -> set[str]:
    """The uploads that batches were made of; those whose batch is being retried become busy."""
    used: set[str] = set()
    for run in batches(client):
        names = {
            part for part in _parts(str(run.parameters.get("archive"))) if _UPLOAD.fullmatch(part)
        }
        used |= names
        if _parts(str(run.parameters.get("output")))[-1] in busy:
            busy |= names
    return used


def _parts(uri: str) -> list[str]:
    return re.split(r"[/\\]", uri.rstrip("/"))


def _is_there(archive: str) -> bool:
    try:
        probe(resolve(archive))
    except ArchiveError:
        return False
    return True

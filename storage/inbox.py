"""A folder or prefix that archives are put into: what lies there, and what may be started.

Nothing in it is moved, renamed or deleted. What has been done is remembered elsewhere: a batch has
a folder of its own below the output, whose name follows from the archive alone.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from storage.errors import ArchiveError, OutputError
from storage.fs.faults import foreign, translate, translated
from storage.fs.fingerprint import TIMES, Fingerprint, version, written_at
from storage.fs.location import Location, probe, resolve
from storage.output.layout import BATCH
from storage.output.output import Output

_ENDINGS = (
    *(".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tbz", ".tar.xz", ".txz"),
    *(".tar.zst", ".tzst", ".tar.lz4"),
)
_TEXT_BYTES = 120  # of an archive's path, in its folder's name; a file system allows 255


@dataclass(frozen=True, slots=True)
class Arrival:
    """An archive in the inbox, as a listing has it.

    Attributes:
        name: its path below the inbox.
        uri: where it is, as a batch opens it.
        fingerprint: tells it from what had this name before and what will have it next.
        modified: when it was last written, in seconds since 1970 by its storage's clock.
    """

    name: str
    uri: str
    fingerprint: Fingerprint
    modified: float

    @property
    def key(self) -> str:
        """What names this version of this archive, the same wherever and whenever it is seen."""
        return f"inbox-{self._digest(self.uri, 16)}"

    @property
    def folder(self) -> str:
        """The name of its batch's folder: text for people, then what makes it the only one."""
        stem = self.name.removesuffix(_ending(self.name))
        text = re.sub(r"[^\w-]+", "-", unicodedata.normalize("NFC", stem)).strip("-")
        text = text.encode()[:_TEXT_BYTES].decode(errors="ignore")
        return f"{text}-{self._digest(self.name, 8)}".lstrip("-")

    def growing(self, now: float, settle_seconds: float) -> str | None:
        """Say why it may still be being written, or None if it lay still for long enough.

        Args:
            now: seconds since 1970.
            settle_seconds: how long ago the last change must be. One in the future, by a clock
                that is ahead, is waited for.
        """
        age = now - self.modified
        if not self.fingerprint.size:
            return "it is empty"
        if age < 0:
            return f"it was changed {-age:.0f} s in the future"
        return f"it was changed {age:.0f} s ago" if age < settle_seconds else None

    def changed(self) -> str | None:
        """Ask storage again: say how it differs from the listing, or None if it does not.

        Raises:
            TransientError: storage did not answer.
        """
        try:
            same = _now(resolve(self.uri)) == self.fingerprint
        except ArchiveError as error:  # renamed or removed meanwhile
            return str(error)
        return None if same else "it was changed just now"

    def _digest(self, place: str, size: int) -> str:
        identity = json.dumps([place, self.fingerprint.size, self.fingerprint.version])
        return hashlib.blake2b(identity.encode(), digest_size=size).hexdigest()


def new_arrivals(inbox: str, output: str) -> list[Arrival]:
    """List the archives in an inbox that have no batch at the output, the oldest first.

    One listing of the inbox and one of the output's folders, however many archives there are.

    Raises:
        ArchiveError: the inbox is absent or forbidden, or cannot be listed.
        OutputError: the same of the output; or it lies in the inbox.
        TransientError: storage failed.
    """
    place = Output(output)
    if place.lies_in(inbox):
        raise OutputError(
            f"{place.uri} lies in {inbox}, so what batches write would be taken for new archives. "
            "Name an output elsewhere."
        )
    begun = _begun(resolve(output))
    new = [arrival for arrival in _list(resolve(inbox)) if arrival.folder not in begun]
    return sorted(new, key=lambda arrival: (arrival.modified, arrival.name))


def batch_output(output: str, arrival: Arrival) -> str:
    """Where an archive's batch goes, in its own folder below the output."""
    return f"{Output(output).uri}/{arrival.folder}"


def _ending(name: str) -> str:
    """What tells that a name is an archive's; "" for hidden ones and for anything else."""
    if any(part.startswith(".") for part in name.split("/")):
        return ""
    return next((name[-len(end) :] for end in _ENDINGS if name.lower().endswith(end)), "")


def _list(inbox: Location) -> Iterator[Arrival]:
    if inbox.is_web:
        raise ArchiveError(
            f"cannot list {inbox.uri}: a web server has no folders; "
            "name a folder or an s3:// prefix"
        )
    with translated(inbox.uri, "list"):
        yield from _local(inbox.path) if inbox.is_local else _remote(inbox)


def _local(root: str) -> Iterator[Arrival]:
    """Links are not followed. What vanishes while it is being listed is left out."""
    folders = [""]
    while folders:
        below = folders.pop()
        try:
            entries = list(os.scandir(os.path.join(root, below)))  # noqa: PTH118 keeps surrogates
        except FileNotFoundError:
            if below:
                continue
            raise
        for entry in entries:
            name = below + entry.name
            if entry.is_dir(follow_symlinks=False) and not entry.name.startswith("."):
                folders.append(name + "/")
            elif _ending(name) and entry.is_file(follow_symlinks=False):
                with suppress(FileNotFoundError):
                    status = entry.stat(follow_symlinks=False)
                    marker = Fingerprint(status.st_size, str(status.st_mtime_ns))
                    yield _arrival(root, name, marker, status.st_mtime)


def _remote(inbox: Location) -> Iterator[Arrival]:
    # Object stores list all that is below a prefix with one request a thousand objects, and raise.
    # Others walk from folder to folder, and would take an inbox that is not there for an empty one.
    options = {} if inbox.fs.async_impl else {"on_error": "raise"}
    start = len(inbox.path.rstrip("/")) + 1
    for path, info in inbox.fs.find(inbox.path, detail=True, **options).items():
        name = path[start:]
        if _ending(name) and info["type"] == "file":
            written = written_at(info)
            if written is None:
                raise ArchiveError(
                    f"cannot watch {inbox.uri}: its storage does not say when a file was written, "
                    "so nothing tells when it is complete"
                )
            yield _arrival(inbox.uri, name, _fingerprint(info), written)


def _arrival(inbox: str, name: str, fingerprint: Fingerprint, modified: float) -> Arrival:
    # A batch is handed a name as text. One that is none cannot be opened, and its batch says so.
    name = name.encode(errors="surrogateescape").decode(errors="replace")
    return Arrival(name, f"{inbox.rstrip('/')}/{name}", fingerprint, modified)


def _now(location: Location) -> Fingerprint | None:
    if location.is_local:
        return probe(location)
    with translated(location.uri, "open"):
        return _fingerprint(location.fs.info(location.path))


def _fingerprint(info: Mapping[str, Any]) -> Fingerprint:
    # A listing and a question after one file may spell the same time in two ways.
    tags = {key: value for key, value in info.items() if key not in TIMES}
    return Fingerprint(int(info["size"] or 0), version(tags) or str(written_at(info)))


def _begun(output: Location) -> set[str]:
    """Names of the folders in which a batch was begun."""
    try:
        if output.is_local:
            return {path.name for path in Path(output.path).iterdir() if (path / BATCH).is_file()}
        # A prefix is there once an object is, and the first of a batch is its batch.json.
        return {PurePosixPath(name).name for name in output.fs.ls(output.path, detail=False)}
    except foreign() as error:
        # without the store's answer for a cause, it is this prefix that is not there, no bucket
        if isinstance(error, FileNotFoundError) and error.__cause__ is None:
            return set()
        raise translate(error, output.uri, "list", permanent=OutputError) from error

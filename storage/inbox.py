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
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from storage.errors import ArchiveError, OutputError
from storage.fs.faults import foreign, translate, translated
from storage.fs.fingerprint import Fingerprint, fingerprint_of
from storage.fs.location import Location, probe, resolve
from storage.inbox_folders import Held, held, local_folders, remote_folders, time_of
from storage.output.layout import BATCH
from storage.output.output import Output

_ENDINGS = (
    *(".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tbz", ".tar.xz", ".txz"),
    *(".tar.zst", ".tzst", ".tar.lz4"),
)
_TEXT_BYTES = 120  # of an archive's path, in its folder's name; a file system allows 255


@dataclass(frozen=True, slots=True)
class Arrival:
    """An archive in the inbox, or a folder, as a listing has it.

    Attributes:
        name: its path below the inbox.
        uri: where it is, as a batch opens it.
        fingerprint: tells it from what had this name before and what will have it next.
        modified: when it was last written, in seconds since 1970 by its storage's clock.
        is_folder: whether it is a folder, whose batch grows with it.
        copying: a file in it that is still being copied.
    """

    name: str
    uri: str
    fingerprint: Fingerprint
    modified: float
    is_folder: bool = False
    copying: str = ""

    @property
    def key(self) -> str:
        """What names this version of this archive, the same wherever and whenever it is seen."""
        return f"inbox-{self._digest(self.uri, 16)}"

    @property
    def tag(self) -> str:
        """What a run of a folder's batch can be found by, whatever the folder held then."""
        return f"inbox-folder-{_digest([self.uri], 8)}"

    @property
    def folder(self) -> str:
        """The name of its batch's folder: text for people, then what makes it the only one.

        A folder keeps its batch when it grows.
        """
        stem = self.name.removesuffix(_ending(self.name))
        text = re.sub(r"[^\w-]+", "-", unicodedata.normalize("NFC", stem)).strip("-")
        text = text.encode()[:_TEXT_BYTES].decode(errors="ignore")
        only = _digest([self.name, "folder"], 8) if self.is_folder else self._digest(self.name, 8)
        return f"{text}-{only}".lstrip("-")

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
        if self.copying:
            return f"{self.copying} in it is being copied"
        if age < 0:
            return f"it was changed {-age:.0f} s in the future"
        return f"it was changed {age:.0f} s ago" if age < settle_seconds else None

    def changed(self) -> str | None:
        """Ask storage again: say how it differs from the listing, or None if it does not.

        Raises:
            TransientError: storage did not answer.
        """
        try:
            same = _now(self) == self.fingerprint
        except ArchiveError as error:  # renamed or removed meanwhile
            return str(error)
        return None if same else "it was changed just now"

    def _digest(self, place: str, size: int) -> str:
        return _digest([place, self.fingerprint.size, self.fingerprint.version], size)


def _digest(identity: list[str | int], size: int) -> str:
    return hashlib.blake2b(json.dumps(identity).encode(), digest_size=size).hexdigest()


def new_arrivals(inbox: str, output: str, folders: bool = False) -> list[Arrival]:
    """List the archives in an inbox that have no batch at the output, the oldest first.

    One listing of the inbox and one of the output's folders, however many archives there are.

    Args:
        inbox, output: folders or prefixes.
        folders: whether each folder right in the inbox is one archive, with all that lies in it.
            These are listed whether they have a batch or not: they may have grown.

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
    found = _list(resolve(inbox), folders)
    new = [arrival for arrival in found if arrival.is_folder or arrival.folder not in begun]
    return sorted(new, key=lambda arrival: (arrival.modified, arrival.name))


def batch_output(output: str, arrival: Arrival) -> str:
    """Where an archive's batch goes, in its own folder below the output."""
    return f"{Output(output).uri}/{arrival.folder}"


def _ending(name: str) -> str:
    """What tells that a name is an archive's; "" for hidden ones and for anything else."""
    if any(part.startswith(".") for part in name.split("/")):
        return ""
    return next((name[-len(end) :] for end in _ENDINGS if name.lower().endswith(end)), "")


def _list(inbox: Location, folders: bool) -> Iterator[Arrival]:
    if inbox.is_web:
        raise ArchiveError(
            f"cannot list {inbox.uri}: a web server has no folders; "
            "name a folder or an s3:// prefix"
        )
    with translated(inbox.uri, "list"):
        yield from _local(inbox.path, folders) if inbox.is_local else _remote(inbox, folders)


def _local(root: str, folders: bool) -> Iterator[Arrival]:
    """Links are not followed. What vanishes while it is being listed is left out."""
    waiting = [""]
    while waiting:
        below = waiting.pop()
        try:
            entries = list(os.scandir(os.path.join(root, below)))  # noqa: PTH118 keeps surrogates
        except FileNotFoundError:
            if below:
                continue
            raise
        for entry in entries:
            name = below + entry.name
            if entry.is_dir(follow_symlinks=False):
                if not folders and not entry.name.startswith("."):
                    waiting.append(name + "/")
            elif _ending(name) and entry.is_file(follow_symlinks=False):
                with suppress(FileNotFoundError):
                    status = entry.stat(follow_symlinks=False)
                    marker = Fingerprint(status.st_size, str(status.st_mtime_ns))
                    yield _arrival(root, name, marker, status.st_mtime)
    if folders:
        yield from (_folder(root, name, found) for name, found in local_folders(root))


def _remote(inbox: Location, folders: bool) -> Iterator[Arrival]:
    # Object stores list all that is below a prefix with one request a thousand objects, and raise.
    # Others walk from folder to folder, and would take an inbox that is not there for an empty one.
    options = {} if inbox.fs.async_impl else {"on_error": "raise"}
    start = len(inbox.path.rstrip("/")) + 1
    infos = inbox.fs.find(inbox.path, detail=True, **options)
    for path, info in infos.items():
        name = path[start:]
        if _ending(name) and info["type"] == "file" and not (folders and "/" in name):
            yield _arrival(inbox.uri, name, fingerprint_of(info), time_of(inbox, info))
    if folders:
        of_each = remote_folders(inbox, infos)
        yield from (_folder(inbox.uri, name, found) for name, found in of_each.items())


def _arrival(inbox: str, name: str, fingerprint: Fingerprint, modified: float) -> Arrival:
    # A batch is handed a name as text. One that is none cannot be opened, and its batch says so.
    name = name.encode(errors="surrogateescape").decode(errors="replace")
    return Arrival(name, f"{inbox.rstrip('/')}/{name}", fingerprint, modified)


def _folder(inbox: str, name: str, found: Held) -> Arrival:
    one = _arrival(inbox, name, found.fingerprint, found.modified)
    return replace(one, uri=f"{one.uri}/", is_folder=True, copying=found.copying)


def _now(arrival: Arrival) -> Fingerprint | None:
    if arrival.is_folder:
        inbox = resolve(arrival.uri.removesuffix(f"{arrival.name}/"))
        with translated(arrival.uri, "list"):
            return held(inbox, arrival.name).fingerprint
    location = resolve(arrival.uri)
    if location.is_local:
        return probe(location)
    with translated(location.uri, "open"):
        return fingerprint_of(location.fs.info(location.path))


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

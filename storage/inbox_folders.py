"""Folders right in an inbox, each with all that lies in it, as one thing that may still grow."""

from __future__ import annotations

import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from storage.errors import ArchiveError
from storage.fs.fingerprint import Fingerprint, fingerprint_of, of_status, written_at
from storage.fs.location import Location

_COPYING = (".part", ".filepart", ".crdownload")
"""How programs call a file that they are still copying."""


@dataclass(slots=True)
class Held:
    """What is in a folder.

    Attributes:
        files: size and version of each, by its path in the folder.
        modified: when the last of them was written, or a name was added, changed or taken away
            where the storage tells; seconds since 1970.
    """

    files: dict[str, Fingerprint] = field(default_factory=dict)
    modified: float = 0.0

    @property
    def fingerprint(self) -> Fingerprint:
        """What tells it from what the folder held before."""
        digest = hashlib.blake2b(digest_size=16)
        for name, file in sorted(self.files.items()):
            digest.update(json.dumps([name, file.size, file.version]).encode())
        return Fingerprint(sum(file.size for file in self.files.values()), digest.hexdigest())

    @property
    def copying(self) -> str:
        """A file that is being copied, by its name; "" where none is."""
        return min((name for name in self.files if name.lower().endswith(_COPYING)), default="")

    def add(self, name: str, file: Fingerprint, modified: float) -> None:
        """Take in a file."""
        self.files[name] = file
        self.modified = max(self.modified, modified)


def local_folders(root: str) -> Iterator[tuple[str, Held]]:
    """The folders right in a local inbox, but for hidden ones and links, by their names."""
    with os.scandir(root) as entries:
        names = [one.name for one in entries if one.is_dir(follow_symlinks=False)]
    for name in names:
        if not name.startswith("."):
            with suppress(FileNotFoundError):  # removed or renamed meanwhile
                yield name, _local(root, name)


def remote_folders(inbox: Location, infos: Mapping[str, Any]) -> dict[str, Held]:
    """The folders right in a prefix, but for hidden ones, by their names.

    Args:
        inbox: the prefix.
        infos: what its file system says of every file below it, by its path.
    """
    start = len(inbox.path.rstrip("/")) + 1
    found: defaultdict[str, Held] = defaultdict(Held)
    for path, info in infos.items():
        folder, _, name = path[start:].partition("/")
        if info["type"] == "file" and name and not folder.startswith("."):
            found[folder].add(name, fingerprint_of(info), time_of(inbox, info))
    return found


def held(inbox: Location, name: str) -> Held:
    """What one of the folders holds by now; nothing where it is gone."""
    if not inbox.is_local:
        infos = inbox.fs.find(f"{inbox.path.rstrip('/')}/{name}", detail=True)
        return remote_folders(inbox, infos).get(name, Held())
    try:
        return _local(inbox.path, name)
    except FileNotFoundError:
        return Held()


def time_of(inbox: Location, info: Mapping[str, Any]) -> float:
    """When a file was written, in seconds since 1970.

    Raises:
        ArchiveError: the storage does not say.
    """
    written = written_at(info)
    if written is None:
        raise ArchiveError(
            f"cannot watch {inbox.uri}: its storage does not say when a file was written, "
            "so nothing tells when it is complete"
        )
    return written


def _local(root: str, name: str) -> Held:
    found = Held()
    folders = [name]
    while folders:
        below = folders.pop()
        place = os.path.join(root, below)  # noqa: PTH118 keeps surrogates
        # a file that was copied with its old time shows only here
        found.modified = max(found.modified, Path(place).stat().st_mtime)
        with os.scandir(place) as entries:
            for one in entries:
                path = f"{below}/{one.name}"
                if one.is_dir(follow_symlinks=False):
                    folders.append(path)
                    continue
                with suppress(FileNotFoundError):
                    status = one.stat(follow_symlinks=False)
                    found.add(path[len(name) + 1 :], of_status(status), status.st_mtime)
    return found

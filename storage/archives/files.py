"""What lies below a folder or prefix, one row a file."""

from __future__ import annotations

import json
import os
import stat
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from storage.errors import ArchiveError, MemberError, MemberErrorCode, SkipReason
from storage.fs.faults import is_missing, translate
from storage.fs.fingerprint import version
from storage.fs.location import Location

Identity = tuple[int, int]


class Row(NamedTuple):
    """One file of a listing.

    Attributes:
        name: path below the folder, or the line of the list.
        size: bytes; -1 where nobody has asked yet.
        skip: why it is no file to read, if it is none.
        error: code and message, where it cannot even be listed.
    """

    name: str
    size: int
    skip: SkipReason | None = None
    error: tuple[MemberErrorCode, str] | None = None

    @property
    def values(self) -> list[object]:
        """As JSON has it; an error only where there is one, as older versions knew none."""
        return list(self if self.error else self[:3])


def encode(rows: list[Row]) -> bytes:
    """Rows as a chunk's `directory`."""
    return json.dumps([row.values for row in rows]).encode()


def decode(directory: bytes) -> list[Row]:
    """What `encode` was given."""
    return [_row(*values) for values in json.loads(directory)]


def _row(name: str, size: int, skip: str | None, error: list[str] | None = None) -> Row:
    return Row(
        name,
        size,
        None if skip is None else SkipReason(skip),
        None if error is None else (MemberErrorCode(error[0]), error[1]),
    )


def error_of(row: Row) -> MemberError | None:
    """The error of a row that could not be listed."""
    return None if row.error is None else MemberError(*row.error)


def local_files(root: str, *, follow: bool) -> Iterator[tuple[Row, str]]:
    """Every file below a local folder, and what tells its version, in no certain order.

    What cannot be listed is a row that says so.

    Args:
        root: the folder.
        follow: whether symbolic links are followed, also out of the folder. Each folder is entered
            once: not through a link where it lies below `root` itself, and through the first of
            several links, by depth and name.

    Raises:
        OSError: of the folder itself, or one that another try may mend.
    """
    entered: set[Identity] = set()
    links: list[str] = []
    yield from _below(root, "", entered, links if follow else None)
    waiting = deque(sorted(links))
    while waiting:
        name = waiting.popleft()
        path = os.path.join(root, name)  # noqa: PTH118 keeps surrogates
        try:
            status = os.stat(path)  # noqa: PTH116
        except OSError as error:
            yield _unlisted(name, path, error), ""
            continue
        if not stat.S_ISDIR(status.st_mode):
            special = None if stat.S_ISREG(status.st_mode) else SkipReason.SPECIAL_FILE
            size = 0 if special else status.st_size
            yield Row(name, size, special), "" if special else str(status.st_mtime_ns)
        elif (status.st_dev, status.st_ino) in entered:
            yield Row(name, 0, SkipReason.LINK), ""
        else:
            more: list[str] = []
            yield from _below(root, name + "/", entered, more)
            waiting += sorted(more)


def _below(
    root: str, start: str, entered: set[Identity], links: list[str] | None
) -> Iterator[tuple[Row, str]]:
    """The files below a folder; the names of links go to `links`, where they are to be followed."""
    folders = [start]
    while folders:
        below = folders.pop()
        place = os.path.join(root, below)  # noqa: PTH118 keeps surrogates
        try:
            if links is not None:
                status = os.stat(place)  # noqa: PTH116
                if (status.st_dev, status.st_ino) in entered:
                    continue
                entered.add((status.st_dev, status.st_ino))
            with os.scandir(place) as entries:
                found = list(entries)
        except OSError as error:
            if not below:
                raise
            yield _unlisted(below.rstrip("/"), place.rstrip("/"), error), ""
            continue
        for entry in found:
            name = below + entry.name
            try:
                if entry.is_symlink():
                    if links is None:
                        yield Row(name, 0, SkipReason.LINK), ""
                    else:
                        links.append(name)
                elif entry.is_dir(follow_symlinks=False):
                    folders.append(name + "/")
                elif entry.is_file(follow_symlinks=False):
                    status = entry.stat(follow_symlinks=False)
                    yield Row(name, status.st_size), str(status.st_mtime_ns)
                else:
                    yield Row(name, 0, SkipReason.SPECIAL_FILE), ""
            except OSError as error:
                yield _unlisted(name, entry.path, error), ""


def _unlisted(name: str, path: str, error: OSError) -> Row:
    """The row of what cannot be listed for good.

    Raises:
        OSError: another try may mend it.
    """
    meaning = translate(error, path, "list")
    if not isinstance(meaning, ArchiveError):
        raise error
    code = MemberErrorCode.MISSING if is_missing(error) else MemberErrorCode.UNREADABLE
    return Row(name, 0, error=(code, str(meaning)))


def remote_files(root: Location) -> Iterator[tuple[Row, str]]:
    """Every file below a prefix, and what tells its version.

    Raises:
        What the file system raises.
    """
    start = len(root.path.rstrip("/")) + 1
    for path, info in root.fs.find(root.path, detail=True).items():
        # consoles make an empty object "folder/" where somebody makes a folder
        if info["type"] != "directory" and not path.endswith("/") and len(path) > start:
            yield Row(path[start:], int(info["size"] or 0)), version(info)

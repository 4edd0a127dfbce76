"""Whether a store can be written to, found out with a small file that is removed again."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from storage.errors import OutputError
from storage.fs.faults import translated
from storage.fs.location import resolve

_CONTENT = bytes(range(256)) * 16


def try_store(place: str, name: str, seconds: float | None = None) -> None:
    """Write a file, compare what is read back and remove it.

    Args:
        place: folder or prefix. Where there is no such folder, that in which it would be made.
        name: of the file.
        seconds: that an object store may take for each of that; None for as long as it takes.

    Raises:
        StorageError, TransientError: what did not work.
    """
    location = resolve(place)
    fs, folder = location.fs, location.path
    if location.is_local:
        folder = str(next(one for one in (Path(folder), *Path(folder).parents) if one.exists()))
    path = f"{folder}/{name}"
    limit: dict[str, Any] = {"timeout": seconds} if seconds and fs.async_impl else {}
    try:
        with translated(place, "write", OutputError):
            fs.pipe_file(path, _CONTENT, **limit)
    except Exception:
        if location.is_local:  # a disk that is full may have taken an empty file
            with suppress(OSError):
                Path(path).unlink()
        raise
    try:
        with translated(place, "read", OutputError):
            back = fs.cat_file(path, **limit)
    finally:
        with translated(place, "delete", OutputError):
            fs.rm_file(path, **limit)
    if back != _CONTENT:
        raise OutputError(f"{place} returns other bytes than were written to it")

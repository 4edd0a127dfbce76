"""The outputs of batches that lie below a folder or prefix."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator

from storage.errors import OutputError
from storage.fs.faults import translated
from storage.fs.location import Location, resolve
from storage.output.layout import BATCH

_DEEPEST = 4  # folders between the prefix and an output


def outputs_below(prefix: str, besides: Collection[str] = ()) -> Iterator[str]:
    """The URI of each folder that holds a `batch.json`, by name; nothing below it is looked at.

    Links are not followed, hidden folders are left out, and the search ends four folders down.

    Args:
        prefix: a folder or prefix, that may be an output itself.
        besides: names of folders right below it that hold no outputs.

    Raises:
        OutputError: it is not there, or cannot be listed.
        TransientError: storage failed.
    """
    place = resolve(prefix)
    if place.is_web:
        raise OutputError(f"{prefix} cannot be listed: a web server has no folders. Name a folder.")
    uri = place.path.rstrip("/") if place.is_local else prefix.rstrip("/")
    waiting = [("", 0)]
    while waiting:
        below, depth = waiting.pop()
        with translated(f"{uri}{below}", "list", OutputError):
            try:
                names, is_output = _folders(place, below)
            except FileNotFoundError:
                if not below:
                    raise
                continue  # removed meanwhile
        if is_output:
            yield f"{uri}{below}"
        elif depth < _DEEPEST:
            inside = sorted(names, reverse=True)
            waiting += [
                (f"{below}/{name}", depth + 1)
                for name in inside
                if not name.startswith(".") and (depth or name not in besides)
            ]


def _folders(place: Location, below: str) -> tuple[list[str], bool]:
    """The names of the folders in one, and whether it is an output."""
    path = f"{place.path.rstrip('/')}{below}"
    names: list[str] = []
    if place.is_local:
        with os.scandir(path) as entries:
            for one in entries:
                if one.name == BATCH:
                    return [], True
                if one.is_dir(follow_symlinks=False):
                    names.append(one.name)
        return names, False
    for info in place.fs.ls(path, detail=True, refresh=True):
        name = str(info["name"]).rstrip("/").rpartition("/")[2]
        if name == BATCH:
            return [], True
        if info["type"] == "directory":
            names.append(name)
    return names, False

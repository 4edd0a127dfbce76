"""The mark at the root of a store by which `facecrop cleanup` knows that it may remove there.

The HTTP service writes it. What is in a store without it is somebody else's, whatever it is called.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from uuid import uuid4

from storage.errors import OutputError
from storage.fs.faults import translated
from storage.output.folder import Folder

MARK = "facecrop-store.json"

_FORMAT = "facecrop-store/1"
_ID = re.compile(r"[0-9a-f]{32}")
_MOST_BYTES = 4096


def mark(store: str) -> None:
    """Mark a folder or prefix as a store of Facecrop's, unless it is marked already.

    Raises:
        OutputError: it cannot be written to, or has something else in the mark's place.
        TransientError: another try may help.
    """
    folder = Folder(store)
    with translated(store, "mark", OutputError):
        found = _read(folder)
        if found is None:
            if folder.is_local:
                Path(folder.path("")).mkdir(parents=True, exist_ok=True)
            data = {"format": _FORMAT, "id": uuid4().hex}
            folder.create(MARK, json.dumps(data).encode() + b"\n")
            found = _read(folder)
    if not _is_mark(found):
        raise OutputError(
            f"{store}/{MARK} is not Facecrop's mark of a store. Move it away, or name another."
        )


def check_marked(store: str) -> None:
    """Refuse a store that no service of Facecrop's has marked.

    Raises:
        OutputError: it has no mark, or it cannot be read.
        TransientError: another try may help.
    """
    with translated(store, "read", OutputError):
        found = _read(Folder(store))
    if not _is_mark(found):
        raise OutputError(
            f"{store} is no store marked as Facecrop's, by {MARK}; nothing is removed. Start "
            "`facecrop serve` once with FACECROP_HTTP_STORE naming it, which marks it."
        )


def _read(folder: Folder) -> bytes | None:
    path = folder.path(MARK)
    try:
        info = folder.fs.info(path)
    except FileNotFoundError:
        return None
    if info["type"] != "file" or (info["size"] or 0) > _MOST_BYTES:
        return b""
    return folder.read(MARK)


def _is_mark(data: bytes | None) -> bool:
    try:
        found = json.loads(data or b"null")
    except ValueError:
        return False
    return (
        isinstance(found, dict)
        and found.get("format") == _FORMAT
        and isinstance(found.get("id"), str)
        and _ID.fullmatch(found["id"]) is not None
    )

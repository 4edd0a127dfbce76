"""What an upload has written, on record: so that its removal takes nothing else.

A record has a line of JSON for itself and one for each name, noted before the file of that name is
begun. An object store takes no more lines: there the record is written again, of many names ever
less often, and whole when the upload is. Until then it may lack the last eighth of them.
"""

from __future__ import annotations

import json
from pathlib import Path

from intake.control.store import RECORDS
from storage.fs.location import resolve

_FORMAT = "facecrop-upload/1"
_SUFFIX = ".jsonl"


class Record:
    """The names of one upload's files. Its methods raise what file systems raise.

    Args:
        store: folder or prefix.
        upload: its id.
    """

    def __init__(self, store: str, upload: str) -> None:
        self._place = resolve(f"{store}/{RECORDS}/{upload}{_SUFFIX}")
        self._head = {"format": _FORMAT, "upload": upload}
        self._names: list[str] = []
        self._noted = 0

    @property
    def begun(self) -> bool:
        """Whether this has noted anything, or tried to."""
        return bool(self._names)

    def add(self, name: str) -> None:
        """Note a name whose file is to be begun."""
        self._names.append(name)
        if self._place.is_local:
            self._append()
        elif len(self._names) > self._noted + self._noted // 8:
            self._write()

    def complete(self) -> None:
        """Has every name noted."""
        if self._noted < len(self._names):
            self._write()

    def remove(self) -> None:
        """Forgets the upload, of which nothing is left."""
        if self._place.is_local:
            Path(self._place.path).unlink(missing_ok=True)
            return
        try:
            self._place.fs.rm_file(self._place.path)
        except FileNotFoundError:
            return

    def read(self) -> set[str] | None:
        """The names on record; None where there is no record of this upload."""
        try:
            lines = self._place.fs.cat_file(self._place.path).splitlines()
        except FileNotFoundError:
            return None
        if not lines or _value(lines[0]) != self._head:
            return None
        return {name for name in map(_value, lines[1:]) if isinstance(name, str)}

    def _append(self) -> None:
        path = Path(self._place.path)
        if not self._noted:
            path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab" if self._noted else "xb") as file:
            file.write(self._lines(self._noted))
        self._noted = len(self._names)

    def _write(self) -> None:
        self._place.fs.pipe_file(self._place.path, self._lines(0))
        self._noted = len(self._names)

    def _lines(self, first: int) -> bytes:
        values = [*([] if first else [self._head]), *self._names[first:]]
        return b"".join(json.dumps(value).encode() + b"\n" for value in values)


def upload_of(file: str) -> str:
    """The id of the upload whose record is in a file of this name."""
    return file.removesuffix(_SUFFIX)


def _value(line: bytes) -> object:
    """What a line says; None of one that was cut off."""
    try:
        return json.loads(line)
    except ValueError:
        return None

"""What stands in front of a chunk's directory where the chunk lies in an archive in another."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from typing import Any

from storage.archives.members import Archive, Entry, Inner
from storage.errors import MemberError, MemberErrorCode, SkipReason

_MARK = b"\0nested\xff"  # begins no directory: of a ZIP's this would be an offset of 2^63 and more
_LENGTH = struct.Struct("<I")


@dataclass(frozen=True, slots=True)
class Opened:
    """An inner archive, or why it has a row of its own.

    Attributes:
        layer: what finds it again.
        archive: with its members planned; None where there is a row.
        members: in it; 1 for the row.
    """

    layer: dict[str, Any]
    archive: Archive | None = None
    members: int = 1


def row_alone(inner: Inner, why: MemberError | SkipReason) -> Opened:
    """What stands for an archive that is not opened."""
    if isinstance(why, SkipReason):
        return Opened({"name": inner.name, "row": [inner.size, why.value, None]})
    return Opened({"name": inner.name, "row": [inner.size, why.code.value, str(why)]})


def entry_alone(index: int, name: str, row: list[Any]) -> Entry:
    """The entry of a member whose layer has a row."""
    size, code, message = row
    if message is None:
        return Entry(index, name, size, skip=SkipReason(code))
    return Entry(index, name, size, error=MemberError(MemberErrorCode(code), message))


def pack(layer: dict[str, Any], directory: bytes) -> bytes:
    """A directory with a layer in front of it."""
    head = json.dumps(layer).encode()
    return _MARK + _LENGTH.pack(len(head)) + head + directory


def unpack(directory: bytes) -> tuple[dict[str, Any], bytes] | None:
    """The layer in front of a chunk's directory, and the rest; None where there is none."""
    if not directory.startswith(_MARK):
        return None
    (length,) = _LENGTH.unpack_from(directory, len(_MARK))
    begin = len(_MARK) + _LENGTH.size
    return json.loads(directory[begin : begin + length]), directory[begin + length :]

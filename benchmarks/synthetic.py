"""Archives of very many tiny members, written in seconds. A batch skips all of them: no images."""

from __future__ import annotations

import io
import struct
import tarfile
import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_CONTENT = b"text"
_NAME = "album-0000/member-0000000.txt"  # as long as names of photographs are
_ALBUM, _NUMBER = slice(6, 10), slice(18, 25)  # of the name: a thousand members an album
_AT_ONCE = 50_000

Rows = NDArray[np.uint8]


def write_zip(path: Path, members: int) -> None:
    """Writes a ZIP of stored members, a zip64 from 65,536 of them on.

    Raises:
        ValueError: it is too long for offsets of four bytes.
    """
    local, central = _zip_records()
    if members * len(local) >= 1 << 32:
        raise ValueError(f"{members} members make more than 4 GiB: take fewer.")
    with path.open("wb") as file:
        for first in range(0, members, _AT_ONCE):
            rows = _repeat(local, first, members, 30)
            file.write(rows.tobytes())
        start = file.tell()
        for first in range(0, members, _AT_ONCE):
            rows = _repeat(central, first, members, 46)
            offsets = np.arange(first, first + len(rows), dtype="<u4") * len(local)
            rows[:, 42:46] = offsets.view(np.uint8).reshape(-1, 4)
            file.write(rows.tobytes())
        end = file.tell()
        # APPNOTE 4.3.14 to 4.3.16: zip64 end, its locator, end
        file.write(
            struct.pack(
                "<4sQ2H2L4Q4sLQL4s4H2LH",
                *(b"PK\6\6", 44, 45, 45, 0, 0, members, members, end - start, start),
                *(b"PK\6\7", 0, end, 1),
                *(b"PK\5\6", 0, 0, *2 * (min(members, 0xFFFF),), end - start, start, 0),
            )
        )


def write_tar(path: Path, members: int) -> None:
    """Writes a plain TAR: 1 KiB a member."""
    header = tarfile.TarInfo(_NAME)
    header.size = len(_CONTENT)
    record = header.tobuf(tarfile.USTAR_FORMAT) + _CONTENT.ljust(tarfile.BLOCKSIZE, b"\0")
    with path.open("wb") as file:
        for first in range(0, members, _AT_ONCE):
            rows = _repeat(record, first, members, 0)
            rows[:, 148:156] = ord(" ")  # the checksum counts itself as blanks
            sums = rows[:, : tarfile.BLOCKSIZE].sum(axis=1)
            rows[:, 148:155] = _digits(sums, 6, 8, end=b"\0")
            file.write(rows.tobytes())
        file.write(bytes(2 * tarfile.BLOCKSIZE))


def _zip_records() -> tuple[bytes, bytes]:
    """A member with its local header, and its record in the directory."""
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as archive:
        archive.writestr(zipfile.ZipInfo(_NAME), _CONTENT)
    data = whole.getvalue()
    start = data.index(b"PK\1\2")
    return data[:start], data[start : data.index(b"PK\5\6")]


def _repeat(record: bytes, first: int, members: int, name: int) -> Rows:
    """The record for some members, one a row, with their names written at column `name`."""
    numbers = np.arange(first, min(first + _AT_ONCE, members))
    rows = np.tile(np.frombuffer(record, np.uint8), (len(numbers), 1))
    names = rows[:, name : name + len(_NAME)]
    names[:, _ALBUM] = _digits(numbers // 1000, 4)
    names[:, _NUMBER] = _digits(numbers, 7)
    return rows


def _digits(numbers: NDArray[np.integer], count: int, base: int = 10, end: bytes = b"") -> Rows:
    """Numbers as text, one a row."""
    powers = base ** np.arange(count - 1, -1, -1)
    digits = (numbers[:, None] // powers % base + ord("0")).astype(np.uint8)
    return np.hstack([digits, np.tile(np.frombuffer(end, np.uint8), (len(numbers), 1))])

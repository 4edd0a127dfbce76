"""A ZIP that is sent while it is made: stored entries, and memory that does not grow with them.

Only what the directory at the end needs is kept, in a temporary file: about 90 bytes an entry.
"""

from __future__ import annotations

import struct
import tempfile
import zlib
from collections.abc import Iterable, Iterator

_LOCAL = struct.Struct("<4sHHHHHLLLHH")
_CENTRAL = struct.Struct("<4sHHHHHHLLLHHHHHLL")
_END64 = struct.Struct("<4sQHHLLQQQQ")
_LOCATOR64 = struct.Struct("<4sLQL")
_END = struct.Struct("<4sHHHHLLH")
_VERSION = 45  # the first with ZIP64
_UTF8 = 0x800
_UNIX_FILE = 0o100644 << 16
_MADE_BY = 3 << 8 | _VERSION  # on Unix, or its file mode means nothing
_NO_TIME, _NO_DATE = 0, 0x21  # 1980-01-01: the same bytes, whenever it is made
_FULL16, _FULL32 = 0xFFFF, 0xFFFFFFFF
_IN_MEMORY = 1 << 20
_PIECE = 1 << 16


def stream_zip(files: Iterable[tuple[str, bytes]]) -> Iterator[bytes]:
    """Yield a ZIP of files, each given by its path and its content."""
    offset = count = 0
    with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as directory:
        for path, data in files:
            name, checksum = path.encode(), zlib.crc32(data)
            sizes = (checksum, len(data), len(data), len(name))
            head = (_UTF8, 0, _NO_TIME, _NO_DATE, *sizes)
            yield _LOCAL.pack(b"PK\3\4", _VERSION, *head, 0) + name + data
            far = offset >= _FULL32
            extra = struct.pack("<HHQ", 1, 8, offset) if far else b""
            place = _FULL32 if far else offset
            directory.write(
                _CENTRAL.pack(
                    *(b"PK\1\2", _MADE_BY, _VERSION, *head),
                    *(len(extra), 0, 0, 0, _UNIX_FILE, place),
                )
                + name
                + extra
            )
            offset += _LOCAL.size + len(name) + len(data)
            count += 1
        size = directory.tell()
        directory.seek(0)
        while piece := directory.read(_PIECE):
            yield piece
    yield _END64.pack(
        b"PK\6\6", _END64.size - 12, _VERSION, _VERSION, 0, 0, *(2 * (count,)), size, offset
    )
    yield _LOCATOR64.pack(b"PK\6\7", 0, offset + size, 1)
    counts = min(count, _FULL16)
    yield _END.pack(b"PK\5\6", 0, 0, counts, counts, min(size, _FULL32), min(offset, _FULL32), 0)

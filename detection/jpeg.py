"""A JPEG's segments, found without decoding it (ITU-T T.81, B.1)."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

START_OF_SCAN = 0xDA
_START_OF_FRAME = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # table B.1
_END_OF_IMAGE = 0xD9
# None are stuffed and fill bytes, and TEM and RST0-7, which stand alone. There may be millions.
_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")


def segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, start and end of the contents of each segment, up to the first scan's header.

    Stray bytes between segments are passed over, as libjpeg does; an end may lie behind the data.
    """
    at = 2
    while (found := _MARKER.search(data, at)) and found.start() + 4 <= len(data):
        at, marker = found.start(), data[found.start() + 1]
        if marker == _END_OF_IMAGE:
            return
        (length,) = struct.unpack_from(">H", data, at + 2)
        yield marker, at + 4, at + 2 + length
        if marker == START_OF_SCAN:
            return
        at += 2 + length


def cut_off(data: bytes, rows: int) -> bytes:
    """The same JPEG saying that it has only so many rows; its data still has all of them.

    A decoder then stops there, whatever the kind of the scans: each goes from the top down, and
    what follows the last row that is wanted is passed over up to the next marker. The last rows may
    come out otherwise than in the whole: units are up to 32 rows high, and colours are smoothed
    with those of the rows below.
    """
    for marker, start, _ in segments(data):
        if marker in _START_OF_FRAME:
            view = memoryview(data)  # of which slices are no copies
            return b"".join([view[: start + 1], struct.pack(">H", rows), view[start + 3 :]])
    return data


def has_end(data: bytes) -> bool:
    """Whether the picture's first scan is followed by the end marker.

    A scan's data never holds that marker, so a file without one was cut short. What comes before
    the scan (a thumbnail) or after the end (a film, another picture) plays no part.
    """
    return any(
        marker == START_OF_SCAN and data.rfind(b"\xff\xd9", end) >= 0
        for marker, _, end in segments(data)
    )

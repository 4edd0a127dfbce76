"""The orientation tag of a JPEG, read without decoding it (Exif 2.32, 4.5-4.6; TIFF 6.0, 2)."""

from __future__ import annotations

import struct

UPRIGHT = 1
_TAG_ORIENTATION = 0x0112
_SHORT = 3
_NO_LENGTH = frozenset({0x01, *range(0xD0, 0xD8)})  # TEM and RST0-7 stand alone
_START_OF_SCAN = 0xDA


def jpeg_orientation(data: bytes | memoryview) -> int:
    """Orientation 1-8 from the first Exif segment; 1 where there is none or it makes no sense."""
    view = memoryview(data)
    at = 2
    while at + 4 <= len(view) and view[at] == 0xFF:
        marker = view[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        if marker in _NO_LENGTH:
            at += 2
            continue
        if marker == _START_OF_SCAN:
            break
        (length,) = struct.unpack_from(">H", view, at + 2)
        if marker == 0xE1 and bytes(view[at + 4 : at + 10]) == b"Exif\0\0":
            return _orientation(bytes(view[at + 10 : at + 2 + length]))
        at += 2 + length
    return UPRIGHT


def _orientation(tiff: bytes) -> int:
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return UPRIGHT
    try:
        (directory,) = struct.unpack_from(order + "I", tiff, 4)
        (entries,) = struct.unpack_from(order + "H", tiff, directory)
        for at in range(directory + 2, directory + 2 + 12 * entries, 12):
            tag, kind, _, value = struct.unpack_from(order + "HHIH", tiff, at)
            if tag == _TAG_ORIENTATION:
                return value if kind == _SHORT and 1 <= value <= 8 else UPRIGHT
    except struct.error:
        return UPRIGHT  # cut short or pointing outside itself: the picture is still good
    return UPRIGHT

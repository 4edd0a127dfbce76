"""The orientation tag, read without decoding the image (Exif 2.32, 4.5-4.6; TIFF 6.0, 2)."""

from __future__ import annotations

import struct

from detection.jpeg import segments

UPRIGHT = 1
_TAG_ORIENTATION = 0x0112
_SHORT = 3
_APP1 = 0xE1
_EXIF = b"Exif\0\0"
_PNG_SIGNATURE_BYTES = 8


def jpeg_orientation(data: bytes) -> int:
    """Orientation 1-8 from the first Exif segment; 1 where there is none or it makes no sense."""
    for marker, start, end in segments(data):
        if marker == _APP1 and data.startswith(_EXIF, start):
            return _orientation(data[start + len(_EXIF) : end])
    return UPRIGHT


def png_orientation(data: bytes) -> int:
    """Orientation 1-8 from the eXIf chunk, which may stand behind the pixels; 1 as above."""
    at = _PNG_SIGNATURE_BYTES
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        if kind == b"eXIf":
            return _orientation(data[at + 8 : at + 8 + length])
        at += 12 + length
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

"""A JPEG's segments, found without decoding it (ITU-T T.81, B.1)."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

START_OF_SCAN = 0xDA
START_OF_FRAME = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
"""Its markers (table B.1)."""

LOSSLESS = {0xC3, 0xC7, 0xCB, 0xCF}
"""Of the start-of-frame markers those that mean a lossless process."""

_PROGRESSIVE = {0xC2, 0xCA}
_HIERARCHICAL = {0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF}
_JPEG_LS = 0xF7  # its start of frame (ITU-T T.87, C.1.1)
_END_OF_IMAGE = 0xD9
_BITS = 8  # of a sample, that libjpeg reads
_RESTARTS = 0xDD
_END = b"\xff\xd9"
_FILLER = b"\x55" * 64  # codes of something, whatever the tables are
# DHT, DAC, SOS, DQT, DNL, DRI, APP0-15 and COM: what may stand between two scans
_BETWEEN_SCANS = {0xC4, 0xCC, START_OF_SCAN, 0xDB, 0xDC, 0xDD, *range(0xE0, 0xF0), 0xFE}
_DECODED_BY = START_OF_FRAME | {0xC4, 0xCC, START_OF_SCAN, 0xDB, 0xDC, 0xDD}
_JFIF_AT, _JFIF, _JFIF_HEAD = 0xE0, b"JFIF\0", b"\xff\xe0\0\x10"  # JFIF 1.02: with a thumbnail
_ADOBE_AT, _ADOBE = 0xEE, b"Adobe"  # says how its colours are coded
# None are stuffed and fill bytes, and TEM and RST0-7, which stand alone. There may be millions.
_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")
_DEFINED_MARKER = re.compile(rb"\xff[\xc0-\xcf\xd8-\xfe]")


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


def is_lossy(data: bytes) -> bool:
    """Whether it is coded by blocks, of 8 bits a sample, so that it can be reduced."""
    for marker, start, _ in segments(data):
        if marker in START_OF_FRAME:
            return marker not in LOSSLESS and data[start : start + 1] == bytes([_BITS])
    return True


def coefficient_bytes(data: bytes) -> int:
    """What a decoder keeps of all of a picture while it reads it, whatever the reduction.

    Nothing where one scan has everything, as rows are then done with one after the other. Else,
    progressive or not, two bytes a sample (libjpeg.txt, "Memory usage").
    """
    samples = components = 0
    for marker, start, end in segments(data):
        content = data[start:end]
        if marker in START_OF_FRAME and len(content) >= 6:
            height, width, components = struct.unpack_from(">HHB", content, 1)
            each = [(one >> 4, one & 15) for one in content[7::3][:components]]
            most = max((h for h, _ in each), default=0) * max((v for _, v in each), default=0)
            samples = height * width * sum(h * v for h, v in each) // most if most else 0
            if marker in _PROGRESSIVE:
                break
        elif marker == START_OF_SCAN and content[:1] == bytes([components]):
            return 0
    return 2 * samples


def unread_process(data: bytes) -> str | None:
    """What a JPEG is that libjpeg does not read, in words; None for others."""
    for marker, start, _ in segments(data):
        if marker == _JPEG_LS:
            return "a JPEG-LS"
        if marker in _HIERARCHICAL:
            return "hierarchical"
        if marker in START_OF_FRAME and len(data) > start:
            bits = data[start]
            lossless = ", lossless" if marker in LOSSLESS else ""
            return None if bits == _BITS else f"of {bits} bits a sample{lossless}"
    return None


def cut_off(data: bytes, rows: int) -> bytes:
    """The same JPEG saying that it has only so many rows; its data still has all of them.

    A decoder then stops there, whatever the kind of the scans: each goes from the top down, and
    what follows the last row that is wanted is passed over up to the next marker. The last rows may
    come out otherwise than in the whole: units are up to 32 rows high, and colours are smoothed
    with those of the rows below.
    """
    for marker, start, _ in segments(data):
        if marker in START_OF_FRAME:
            view = memoryview(data)  # of which slices are no copies
            return b"".join([view[: start + 1], struct.pack(">H", rows), view[start + 3 :]])
    return data


def picture(data: bytes, *, past_damage: bool = False) -> bytes | None:
    """The JPEG with its end marker and without stray bytes; None where it has no scan.

    Stray is what stands between the header's segments and what follows the last scan: zeros, a
    film, another picture, or nothing, where a file lacks its end marker.

    Args:
        past_damage: take markers that mean nothing, 02 to BF, for damage within a scan, behind
            which a decoder finds its way again by restart markers, and not for its end. None where
            there are no restart markers.
    """
    kept, scan, restarts = [data[:2]], 0, False
    for marker, start, end in segments(data):
        kept.append(data[start - 4 : end])
        restarts |= marker == _RESTARTS
        scan = end if marker == START_OF_SCAN else 0
    if not scan or (past_damage and not restarts):
        return None
    at, ends = scan, _DEFINED_MARKER if past_damage else _MARKER
    while found := ends.search(data, at):
        if data[found.start() + 1] not in _BETWEEN_SCANS or found.end() + 2 > len(data):
            break
        at = found.end() + int.from_bytes(data[found.end() : found.end() + 2], "big")
    kept += [data[scan : found.start() if found else len(data)], _END]
    return b"".join(kept)


def bare(data: bytes) -> bytes | None:
    """The JPEG with what its picture is decoded by, and nothing else; None where it has no scan.

    Left out are metadata, profiles, comments, previews, JFIF's too, and what follows the picture.
    """
    kept, scan = [data[:2]], 0
    for marker, start, end in segments(data):
        content = data[start:end]
        if marker == _JFIF_AT and content.startswith(_JFIF):
            kept.append(_JFIF_HEAD + content[: len(_JFIF) + 7] + b"\0\0")
        elif marker in _DECODED_BY or (marker == _ADOBE_AT and content.startswith(_ADOBE)):
            kept.append(data[start - 4 : end])
        scan = end if marker == START_OF_SCAN else 0
    if not scan:
        return None
    at = begin = scan
    while found := _MARKER.search(data, at):
        marker = data[found.start() + 1]
        if marker not in _BETWEEN_SCANS or found.end() + 2 > len(data):
            break
        at = found.end() + int.from_bytes(data[found.end() : found.end() + 2], "big")
        if marker not in _DECODED_BY:
            kept.append(data[begin : found.start()])
            begin = at
    kept += [data[begin : found.start() if found else len(data)], _END]
    return b"".join(kept)


def with_filler(clean: bytes) -> bytes:
    """What `picture` gives, with more data at its end: that changes the rows that are missing."""
    return clean.removesuffix(_END) + _FILLER + _END

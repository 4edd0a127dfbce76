"""A WebP's sizes: of its picture, and of its file (RFC 9649)."""

from __future__ import annotations

import struct

_RIFF_BYTES = 12
_CHUNKS = {
    b"VP8 ", b"VP8L", b"VP8X", b"ANIM", b"ANMF", b"ALPH", b"ICCP", b"EXIF", b"XMP ",
}  # fmt: skip


def webp_size(data: bytes) -> tuple[int, int]:
    """Width and height as the first chunk states them (RFC 9649, 2.5 to 2.7); 0, 0 for none."""
    kind, fields = data[12:16], data[20:30].ljust(10, b"\0")
    if kind == b"VP8X":
        return 1 + int.from_bytes(fields[4:7], "little"), 1 + int.from_bytes(fields[7:], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(fields[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", fields, 6)
        return width & 0x3FFF, height & 0x3FFF
    return 0, 0


def with_true_length(data: bytes) -> bytes:
    """The same file saying how long it is, where its RIFF header says something else.

    Junk behind it is left to stand there; a file that lacks a part of a chunk is left as it is.
    """
    at = _RIFF_BYTES
    while at + 8 <= len(data):
        (length,) = struct.unpack_from("<I", data, at + 4)
        end = at + 8 + length + length % 2
        if end > len(data) + length % 2:
            break
        if data[at : at + 4] not in _CHUNKS:
            break
        at = end
    if at == _RIFF_BYTES or struct.unpack_from("<I", data, 4)[0] == at - 8:
        return data
    return b"".join([data[:4], struct.pack("<I", at - 8), memoryview(data)[8:]])

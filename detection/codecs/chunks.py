"""The chunks of PNG and WebP, found without decoding a picture."""

from __future__ import annotations

import struct
from collections.abc import Iterator

_PNG_SIGNATURE_BYTES = 8
_RIFF_HEADER_BYTES = 12


def png_chunks(data: bytes) -> Iterator[tuple[bytes, slice]]:
    """Kind of each chunk, and where its contents are, which may end behind the data.

    Behind them are four bytes of checksum (W3C PNG, 5.3).
    """
    at = _PNG_SIGNATURE_BYTES
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        yield kind, slice(at + 8, at + 8 + length)
        at += 12 + length


def without_png_chunks(data: bytes, unwanted: bytes) -> bytes:
    """The same PNG without the chunks of a kind that stand in front of its pixels."""
    kept, start = [], 0
    view = memoryview(data)  # of which slices are no copies
    for kind, at in png_chunks(data):
        if kind == b"IDAT":
            break
        if kind == unwanted:
            kept.append(view[start : at.start - 8])
            start = at.stop + 4
    return b"".join([*kept, view[start:]]) if start else data


def riff_chunks(data: bytes) -> Iterator[tuple[bytes, slice]]:
    """Kind of each chunk, and where its contents are, which may end behind the data (RFC 9649)."""
    at = _RIFF_HEADER_BYTES
    while at + 8 <= len(data):
        kind, length = struct.unpack_from("<4sI", data, at)
        yield kind, slice(at + 8, at + 8 + length)
        at += 8 + length + length % 2

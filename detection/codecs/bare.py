"""A file with its picture alone, coded as it was: without metadata, previews and what is behind."""

from __future__ import annotations

import struct

from detection.codecs import jpeg
from detection.codecs.chunks import png_chunks, riff_chunks

_SIGNATURE_BYTES = 8
_COLOURS = {b"iCCP", b"sRGB", b"gAMA", b"cHRM", b"cICP", b"pHYs"}  # and its pixels' density
_PICTURE = {b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"sBIT", b"bKGD"} | _COLOURS
_ANIMATED_PNG, _ANIMATED_WEBP = b"acTL", b"ANIM"
_ALPHA = 0x10  # of VP8X's flags: RFC 9649, 2.7


def bare(data: bytes, kind: str) -> bytes | None:
    """The same picture without anything else; None where it cannot be taken over as it is coded.

    Args:
        data: the file, which a decoder reads.
        kind: its format. A JPEG's profile is left out, a PNG's stays, a WebP's is left out.
    """
    if kind == "jpeg":
        return jpeg.bare(data)
    if kind == "png":
        return None if is_animated(data, kind) else _png(data, _PICTURE)
    if kind == "webp":
        return None if is_animated(data, kind) else _webp(data)
    return None


def is_animated(data: bytes, kind: str) -> bool:
    """Whether a PNG or WebP has frames, of which one is taken."""
    if kind == "png":
        return any(name == _ANIMATED_PNG for name, _ in png_chunks(data))
    return kind == "webp" and any(name == _ANIMATED_WEBP for name, _ in riff_chunks(data))


def with_colours_of(data: bytes, source: bytes) -> bytes:
    """A PNG of our own making that says of its colours what another does."""
    header = _SIGNATURE_BYTES + 25
    said = _png(source, _COLOURS)[_SIGNATURE_BYTES:]
    return b"".join([data[:header], said, memoryview(data)[header:]])


def _png(data: bytes, wanted: set[bytes]) -> bytes:
    view = memoryview(data)
    kept = [view[:_SIGNATURE_BYTES]]
    for kind, at in png_chunks(data):
        if kind in wanted:
            kept.append(view[at.start - 8 : at.stop + 4])
        if kind == b"IEND":
            break
    return b"".join(kept)


def _webp(data: bytes) -> bytes:
    kept = [b"WEBP"]
    for kind, at in riff_chunks(data):
        content = data[at]
        if kind == b"VP8X" and content[:1]:
            content = bytes([content[0] & _ALPHA]) + content[1:]
        if kind in (b"VP8X", b"ALPH", b"VP8 ", b"VP8L"):
            kept += [kind, struct.pack("<I", len(content)), content, b"\0" * (len(content) % 2)]
    body = b"".join(kept)
    return b"RIFF" + struct.pack("<I", len(body)) + body

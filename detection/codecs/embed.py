"""An ICC profile, Exif and XMP put into a file that our own encoders have made, or that is bare.

ICC.1:2022, Annex B; Exif 2.32, 4.7.2; XMP part 3, 1.1; W3C PNG 11.3; RFC 9649, 2.7.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from detection.codecs.chunks import riff_chunks
from detection.codecs.exif import EXIF_MARK, XMP_MARK
from detection.codecs.metadata import NOTHING, Along
from detection.codecs.webp import webp_size
from detection.options import ImageFormat

_APP1, _APP2, _MARK = b"\xff\xe1", b"\xff\xe2", b"ICC_PROFILE\0"
_SEGMENT_BYTES = 65535 - 2 - len(_MARK) - 2  # of a profile, in one of a JPEG's segments
_PNG_HEADER_BYTES = 33  # the signature and IHDR, behind which iCCP stands
_WITH_PROFILE, _WITH_EXIF, _WITH_XMP = 0x20, 0x08, 0x04  # of VP8X's flags: RFC 9649, 2.7
_EXTENDED = b"VP8X"


def embedded(
    data: bytes, image_format: ImageFormat, profile: bytes | None, along: Along = NOTHING
) -> bytes:
    """A JPEG, PNG or still WebP without any of these that has them.

    Args:
        data: the file.
        image_format: its format.
        profile: the ICC profile of its pixels, or None.
        along: its metadata.
    """
    if profile is None and along == NOTHING:
        return data
    if image_format == "jpg":
        return _jpeg(data, profile, along)
    made = _png if image_format == "png" else _webp
    return made(data, profile, along)


def _jpeg(data: bytes, profile: bytes | None, along: Along) -> bytes:
    start = 2
    if data[start : start + 2] == b"\xff\xe0":  # JFIF's has to be the first
        start += 2 + int.from_bytes(data[4:6], "big")
    parts = []
    if along.exif:
        parts.append(_segment(_APP1, EXIF_MARK + along.exif))
    if along.xmp:
        parts.append(_segment(_APP1, XMP_MARK + along.xmp))
    count = -(-len(profile or b"") // _SEGMENT_BYTES)
    for number in range(count):
        part = (profile or b"")[number * _SEGMENT_BYTES :][:_SEGMENT_BYTES]
        parts.append(_segment(_APP2, _MARK + bytes([number + 1, count]) + part))
    return b"".join([data[:start], *parts, memoryview(data)[start:]])


def _segment(marker: bytes, content: bytes) -> bytes:
    return marker + struct.pack(">H", len(content) + 2) + content


def _png(data: bytes, profile: bytes | None, along: Along) -> bytes:
    chunks = []
    if profile is not None:
        chunks.append(png_chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(profile)))
    if along.exif:
        chunks.append(png_chunk(b"eXIf", along.exif))
    if along.xmp:
        chunks.append(png_chunk(b"iTXt", b"XML:com.adobe.xmp" + bytes(5) + along.xmp))
    view = memoryview(data)
    return b"".join([view[:_PNG_HEADER_BYTES], *chunks, view[_PNG_HEADER_BYTES:]])


def png_chunk(kind: bytes, content: bytes) -> bytes:
    """A PNG's chunk, with its length and checksum (W3C PNG, 5.3)."""
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


def _webp(data: bytes, profile: bytes | None, along: Along) -> bytes:
    """With the chunks in the order that they have to have."""

    def parts() -> Iterator[bytes]:
        flags = _WITH_PROFILE if profile is not None else 0
        flags |= (_WITH_EXIF if along.exif else 0) | (_WITH_XMP if along.xmp else 0)
        width, height = webp_size(data)
        size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
        chunks = [(kind, data[at]) for kind, at in riff_chunks(data)]
        if chunks and chunks[0][0] == _EXTENDED:  # it has alpha
            flags |= chunks.pop(0)[1][0]
        yield _chunk(_EXTENDED, struct.pack("<I", flags) + size)
        if profile is not None:
            yield _chunk(b"ICCP", profile)
        for kind, content in chunks:
            yield _chunk(kind, content)
        if along.exif:
            yield _chunk(b"EXIF", along.exif)
        if along.xmp:
            yield _chunk(b"XMP ", along.xmp)

    body = b"WEBP" + b"".join(parts())
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _chunk(kind: bytes, content: bytes) -> bytes:
    return kind + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)

"""An ICC profile put into a file that our own encoders have made (ICC.1:2022, Annex B)."""

from __future__ import annotations

import struct
import zlib

from detection.codecs.webp import webp_size
from detection.options import ImageFormat

_APP2, _MARK = b"\xff\xe2", b"ICC_PROFILE\0"
_SEGMENT_BYTES = 65535 - 2 - len(_MARK) - 2  # of a profile, in one of a JPEG's segments
_PNG_HEADER_BYTES = 33  # the signature and IHDR, behind which iCCP stands
_WEBP_HEADER_BYTES = 12
_WITH_PROFILE = 0x20  # of VP8X's flags: RFC 9649, 2.7


def with_profile(data: bytes, image_format: ImageFormat, profile: bytes) -> bytes:
    """A JPEG, PNG or simple WebP (without alpha) that has an ICC profile, too."""
    if image_format == "jpg":
        return _jpeg(data, profile)
    return _png(data, profile) if image_format == "png" else _webp(data, profile)


def _jpeg(data: bytes, profile: bytes) -> bytes:
    start = 2
    if data[start : start + 2] == b"\xff\xe0":  # JFIF's has to be the first
        start += 2 + int.from_bytes(data[4:6], "big")
    count = -(-len(profile) // _SEGMENT_BYTES)
    parts = []
    for number in range(count):
        part = profile[number * _SEGMENT_BYTES :][:_SEGMENT_BYTES]
        content = _MARK + bytes([number + 1, count]) + part
        parts.append(_APP2 + struct.pack(">H", len(content) + 2) + content)
    return b"".join([data[:start], *parts, data[start:]])


def _png(data: bytes, profile: bytes) -> bytes:
    content = b"iCCP" + b"ICC profile\0\0" + zlib.compress(profile)
    chunk = struct.pack(">I", len(content) - 4) + content
    chunk += struct.pack(">I", zlib.crc32(content))
    return data[:_PNG_HEADER_BYTES] + chunk + data[_PNG_HEADER_BYTES:]


def _webp(data: bytes, profile: bytes) -> bytes:
    width, height = webp_size(data)
    size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    head = _chunk(b"VP8X", struct.pack("<I", _WITH_PROFILE) + size)
    body = b"WEBP" + head + _chunk(b"ICCP", profile) + data[_WEBP_HEADER_BYTES:]
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _chunk(kind: bytes, content: bytes) -> bytes:
    return kind + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)

"""Which way up a picture is, read from its metadata without decoding it.

The answer is the same whatever file the metadata stands in: the orientation of the first Exif block
that has one (Exif 2.32, 4.6.4, tag 0x0112, of any integer type: writers differ), else that of XMP
(`tiff:Orientation`, XMP part 2, 3.5), else upright.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator

from detection.codecs.chunks import png_chunks, riff_chunks
from detection.codecs.jpeg import segments
from detection.codecs.sniff import Format

UPRIGHT = 1
_TAG_ORIENTATION = 0x0112
_TAG_DETAILS = 0x8769  # Exif 2.32, 4.6.3: where the directory with the camera's own tags is
_TAG_COLOUR_SPACE = 0xA001
_TAG_INTEROPERABILITY = 0xA005
_TAG_INDEX = 1  # Exif 2.32, 4.6.7, in the directory of interoperability
_ADOBE_RGB = 2
_ASCII = 2
_INTEGERS = {1: "B", 3: "H", 4: "I"}  # TIFF 6.0, 2: BYTE, SHORT, LONG
_APP1 = 0xE1
EXIF_MARK = b"Exif\0\0"
XMP_MARK = b"http://ns.adobe.com/xap/1.0/\0"
_RAW_PROFILES = (b"Raw profile type exif", b"Raw profile type APP1")
_PNG_XMP = b"XML:com.adobe.xmp"
_MOST_TEXT_BYTES = 1 << 20  # that a compressed text may come to
_XMP_ORIENTATION = re.compile(rb"tiff:Orientation(?:\s*=\s*[\"']|\s*>)\s*([1-8])\s*[\"'<]")

_Block = tuple[bool, bytes]  # whether it is XMP, and its bytes; else it is a TIFF structure


def orientation(data: bytes, kind: Format) -> int:
    """EXIF orientation 1-8 of a JPEG, PNG or WebP; 1 where nothing says one that makes sense."""
    said = UPRIGHT
    for is_xmp, block in blocks(data, kind):
        if is_xmp:
            found = _XMP_ORIENTATION.search(block)
            said = int(found[1]) if found and said == UPRIGHT else said
        elif value := _of_tiff(block.removeprefix(EXIF_MARK)):
            return value
    return said


def says_adobe_rgb(data: bytes, kind: Format) -> bool:
    """Whether a JPEG, PNG or WebP says that its colours are Adobe RGB's (DCF 2.0, 3.3.1).

    A camera does it by the index R03, some programs by the colour space 2; neither by a profile.
    """
    return any(
        not is_xmp and _says_adobe_rgb(block.removeprefix(EXIF_MARK))
        for is_xmp, block in blocks(data, kind)
    )


def blocks(data: bytes, kind: Format) -> Iterator[tuple[bool, bytes]]:
    """The blocks of metadata of a JPEG, PNG or WebP, in their order.

    Yields:
        Whether it is XMP, and its bytes; else it is a TIFF structure, perhaps behind a mark.
    """
    return _BLOCKS[kind](data)


def _jpeg_blocks(data: bytes) -> Iterator[_Block]:
    for marker, start, end in segments(data):
        if marker == _APP1 and data.startswith(EXIF_MARK, start):
            yield False, data[start:end]
        elif marker == _APP1 and data.startswith(XMP_MARK, start):
            yield True, data[start:end]


def _png_blocks(data: bytes) -> Iterator[_Block]:
    """From chunks before and behind the pixels (W3C PNG 11.3; raw profiles are ImageMagick's)."""
    for kind, content in png_chunks(data):
        if kind == b"eXIf":
            yield False, data[content]
        elif kind in (b"tEXt", b"zTXt", b"iTXt"):
            keyword, _, text = data[content].partition(b"\0")
            if keyword in _RAW_PROFILES:
                yield False, _raw_profile(_png_text(kind, text))
            elif keyword == _PNG_XMP:
                yield True, _png_text(kind, text)


def _png_text(kind: bytes, text: bytes) -> bytes:
    """What stands behind a text chunk's keyword; nothing where it is no such text."""
    compressed = kind == b"zTXt"
    if kind == b"iTXt":
        compressed = text[:1] == b"\1"
        text = text[2:].partition(b"\0")[2].partition(b"\0")[2]  # without language and translation
    elif compressed:
        text = text[1:]  # without the method, of which there is one
    if not compressed:
        return text
    try:
        return zlib.decompressobj().decompress(text, _MOST_TEXT_BYTES)
    except zlib.error:
        return b""


def _raw_profile(text: bytes) -> bytes:
    """Bytes in hexadecimal digits, behind lines with their name and number."""
    try:
        return bytes.fromhex(b"".join(text.split()[2:]).decode())
    except ValueError:
        return b""


def _webp_blocks(data: bytes) -> Iterator[_Block]:
    """From RIFF chunks (RFC 9649, 2.7.1.5)."""
    for kind, content in riff_chunks(data):
        if kind in (b"EXIF", b"XMP "):
            yield kind == b"XMP ", data[content]


_BLOCKS = {"jpeg": _jpeg_blocks, "png": _png_blocks, "webp": _webp_blocks}


def _of_tiff(tiff: bytes) -> int | None:
    """The orientation of the first directory (TIFF 6.0, 2); None where that makes no sense."""
    value = _number(tiff, _first(tiff), _TAG_ORIENTATION)
    return value if value is not None and UPRIGHT <= value <= 8 else None


def _says_adobe_rgb(tiff: bytes) -> bool:
    details = _number(tiff, _first(tiff), _TAG_DETAILS)
    if _number(tiff, details, _TAG_COLOUR_SPACE) == _ADOBE_RGB:
        return True
    interoperability = _number(tiff, details, _TAG_INTEROPERABILITY)
    return _value(tiff, interoperability, _TAG_INDEX) == (_ASCII, b"R03\0")


def _first(tiff: bytes) -> int | None:
    """Where the first directory is."""
    return _unpacked(tiff, "I", 4)


def _number(tiff: bytes, directory: int | None, tag: int) -> int | None:
    kind, value = _value(tiff, directory, tag) or (0, b"")
    if kind not in _INTEGERS:
        return None
    return _unpacked(tiff[:4] + value, _INTEGERS[kind], 4)


def _value(tiff: bytes, directory: int | None, tag: int) -> tuple[int, bytes] | None:
    """Type and four bytes of value of an entry; None where there is none."""
    if directory is None:
        return None
    entries = _unpacked(tiff, "H", directory) or 0
    for at in range(directory + 2, directory + 2 + 12 * entries, 12):
        if _unpacked(tiff, "H", at) == tag and len(tiff) >= at + 12:
            return _unpacked(tiff, "H", at + 2) or 0, tiff[at + 8 : at + 12]
    return None


def _unpacked(tiff: bytes, code: str, at: int) -> int | None:
    """A number; None where it is cut off or outside: the picture is still good."""
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return None
    try:
        (value,) = struct.unpack_from(order + code, tiff, at)
    except struct.error:
        return None
    return int(value)

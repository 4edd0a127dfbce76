"""What a file says its colours are: an ICC profile, or other words that one is made of."""

from __future__ import annotations

import struct
import zlib
from functools import cache

from detection.codecs.chunks import png_chunks, riff_chunks
from detection.codecs.cicp import profile_of_code_points
from detection.codecs.directories import pages
from detection.codecs.exif import says_adobe_rgb
from detection.codecs.icc import (
    ADOBE_RGB,
    BT709,
    D65,
    Chromaticity,
    Primaries,
    ProfileError,
    matrix_profile,
)
from detection.codecs.isobmff import colours_of_jp2, colours_of_picture
from detection.codecs.jpeg import segments
from detection.codecs.sniff import Format
from detection.options import MOST_PROFILE_BYTES

_APP2 = 0xE2
_JPEG_MARK = b"ICC_PROFILE\0"
_ADOBE_GAMMA = 563 / 256
_SRGB_GAMMA = 2.2
_SAME_GAMMA = 0.05  # of each other: written with few digits
_BMP_HEADER_AT, _BMP_V5_BYTES, _EMBEDDED = 14, 124, b"DEBM"
_PSD_MODES_AT, _PSD_ICC = 26, 1039
_TIFF_ICC = 34675  # ICC.1:2022, B.3


def stated_profile(data: bytes, kind: Format) -> bytes | None:
    """The ICC profile of an image's colours; None where the file says none: then it is sRGB.

    Raises:
        ProfileError: it has one that is no profile, or not all of one.
    """
    found: bytes | None
    match kind:
        case "jpeg":
            found = _of_jpeg(data)
        case "png":
            found = _of_png(data)
        case "webp":
            found = next((data[at] for name, at in riff_chunks(data) if name == b"ICCP"), None)
        case "avif" | "heic":
            found = _of_picture(data)
        case "jpeg2000":
            found = colours_of_jp2(data)
        case "bmp":
            found = _of_bmp(data)
        case "psd":
            found = _of_psd(data)
        case "tiff":
            first = next(pages(data), None)
            found = (first.raw(_TIFF_ICC) if first else b"") or None
        case _:
            found = None
    if found is None and kind in ("jpeg", "png", "webp") and says_adobe_rgb(data, kind):
        return _adobe_rgb()
    return found


@cache
def _adobe_rgb() -> bytes:
    return matrix_profile(ADOBE_RGB, D65, _ADOBE_GAMMA)


def _of_jpeg(data: bytes) -> bytes | None:
    """Of APP2 segments, numbered from 1 and in any order (ICC.1:2022, B.4)."""
    parts = {}
    for marker, start, end in segments(data):
        if marker == _APP2 and data.startswith(_JPEG_MARK, start):
            at = start + len(_JPEG_MARK)
            parts[data[at : at + 1]] = data[at + 2 : end]
    return b"".join(parts[number] for number in sorted(parts)) if parts else None


def _of_picture(data: bytes) -> bytes | None:
    told = colours_of_picture(data)
    return profile_of_code_points(*told) if isinstance(told, tuple) else told


def _of_png(data: bytes) -> bytes | None:
    """Of the first of cICP, iCCP, sRGB, and gAMA with cHRM (W3C PNG, 4.3).

    One with a wrong checksum is not there any more: `Source.open` has taken it out.
    """
    found = {}
    for name, at in png_chunks(data):
        if name == b"IDAT":
            break
        if name in (b"cICP", b"iCCP", b"sRGB", b"gAMA", b"cHRM"):
            found[name] = data[at]
    if len(points := found.get(b"cICP", b"")) == 4 and (
        made := profile_of_code_points(*points[:2])
    ):
        return made
    if b"iCCP" in found:
        return _inflated(found[b"iCCP"].partition(b"\0")[2][1:])
    if b"sRGB" in found or len(found.get(b"gAMA", b"")) != 4:
        return None
    return _of_gamma(found[b"gAMA"], found.get(b"cHRM", b""))


def _of_gamma(gamma: bytes, chromaticities: bytes) -> bytes | None:
    exponent = int.from_bytes(gamma, "big") / 100_000
    if not 0.1 <= exponent <= 10:
        return None
    primaries, white = BT709, D65
    if len(chromaticities) == 32:
        values = [value / 100_000 for value in struct.unpack(">8I", chromaticities)]
        pairs: list[Chromaticity] = list(zip(values[::2], values[1::2], strict=True))
        white, primaries = pairs[0], (pairs[1], pairs[2], pairs[3])
    usual = abs(1 / exponent / _SRGB_GAMMA - 1) <= _SAME_GAMMA
    if usual and _is_bt709(primaries, white):
        return None
    return matrix_profile(primaries, white, 1 / exponent)


def _is_bt709(primaries: Primaries, white: Chromaticity) -> bool:
    pairs = zip((*primaries, white), (*BT709, D65), strict=True)
    return all(abs(a - b) < 0.005 for one, other in pairs for a, b in zip(one, other, strict=True))


def _inflated(data: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(data, MOST_PROFILE_BYTES + 1)
    except zlib.error as error:
        raise ProfileError(str(error)) from None


def _of_bmp(data: bytes) -> bytes | None:
    """Of BITMAPV5HEADER, where its colour space is PROFILE_EMBEDDED."""
    header = data[_BMP_HEADER_AT : _BMP_HEADER_AT + _BMP_V5_BYTES]
    if len(header) < _BMP_V5_BYTES or int.from_bytes(header[:4], "little") < _BMP_V5_BYTES:
        return None
    if header[56:60] != _EMBEDDED:
        return None
    start, size = struct.unpack_from("<II", header, 112)
    return data[_BMP_HEADER_AT + start : _BMP_HEADER_AT + start + size]


def _of_psd(data: bytes) -> bytes | None:
    """Of the image resources (Adobe Photoshop File Formats, "Image Resources Section")."""
    try:
        (colours,) = struct.unpack_from(">I", data, _PSD_MODES_AT)
        at = _PSD_MODES_AT + 4 + colours
        (size,) = struct.unpack_from(">I", data, at)
        end = at + 4 + size
        at += 4
        while at < end:
            (number,) = struct.unpack_from(">H", data, at + 4)
            at += 6 + (data[at + 6] // 2 + 1) * 2  # behind a name of even length, with its own
            (size,) = struct.unpack_from(">I", data, at)
            if number == _PSD_ICC:
                return data[at + 4 : at + 4 + size]
            at += 4 + size + size % 2
    except (struct.error, IndexError):
        pass
    return None

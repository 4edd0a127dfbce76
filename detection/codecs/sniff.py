"""Which image format some bytes are, told from how they begin.

Signatures: ITU-T T.81 B.1 (JPEG), W3C PNG 5.2, RFC 9649 2.4 (WebP), TIFF 6.0 section 2 and BigTIFF,
BITMAPFILEHEADER (BMP), GIF89a 17, ISO/IEC 14496-12 4.3 (AVIF and HEIC, told apart by brand),
ITU-T T.800 A.4 and I.5.1 (JPEG 2000), Adobe Photoshop File Formats 2 (PSD), Netpbm's pages of PBM,
PGM and PPM, Truevision TGA 2.0 C.6, ZSoft PCX 5, SGI Image File Format 1.0, QOI 1.0.
"""

from __future__ import annotations

import re
from typing import Literal

Format = Literal[
    "jpeg", "png", "webp", "tiff", "bmp", "gif", "avif", "heic",
    "jpeg2000", "psd", "ppm", "tga", "pcx", "sgi", "qoi", "raw",
]  # fmt: skip

_PREFIXES: tuple[tuple[bytes, Format], ...] = (
    (b"\xff\xd8\xff", "jpeg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"II*\0", "tiff"),
    (b"MM\0*", "tiff"),
    (b"II+\0", "tiff"),
    (b"MM\0+", "tiff"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "jpeg2000"),
    (b"\xff\x4f\xff\x51", "jpeg2000"),  # without a container
    (b"qoif", "qoi"),
)
_PATTERNS: tuple[tuple[re.Pattern[bytes], Format], ...] = (
    # of 1 or 8 bits a channel
    (re.compile(rb"8BPS\x00\x01\x00{6}.{10}\x00[\x01\x08]", re.DOTALL), "psd"),
    (re.compile(rb"P[1-6]\s+(?:#|\d+\s+(?:#|\d+\s))"), "ppm"),
    (re.compile(rb"\x01\xda[\x00\x01][\x01\x02]\x00[\x01-\x03]"), "sgi"),
    (re.compile(rb"\n[\x00\x02-\x05]\x01[\x01\x02\x04\x08].{60}\x00", re.DOTALL), "pcx"),
)
# Of colours or grey, compressed or not. Before version 2.0 there was no footer to know one by.
_TGA = re.compile(
    rb".\x00[\x02\x03\x0a\x0b]\x00{5}.{4}(?!\x00\x00)..(?!\x00\x00)..[\x08\x10\x18\x20][\x00-\x3f]",
    re.DOTALL,
)
_TGA_FOOTER = b"TRUEVISION-XFILE.\0"
CR3, RW2, ORF = "Canon CR3", "Panasonic RW2", "Olympus ORF"
_RAWS = (
    (b"FUJIFILMCCD-RAW", "Fujifilm RAF"),
    (b"IIU\0", RW2),
    (b"IIRO", ORF),
    (b"IIRS", ORF),
    (b"MMOR", ORF),
    (b"FOVb", "Sigma X3F"),
    (b"\0MRM", "Minolta MRW"),
    (b"II\x1a\0\0\0HEAPCCDR", "Canon CRW"),
)
_MOST_JUNK = 32  # bytes in front of a JPEG; further in, one is a song's cover
_JPEG_START = re.compile(rb"\xff\xd8\xff[\xc0-\xfe]")
_BMP_HEADERS = {12, 40, 52, 56, 64, 108, 124}  # bytes, of all versions of Windows and OS/2
_AVIF_BRANDS = {b"avif", b"avis"}
_HEIC_BRANDS = {b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"}


def sniff(data: bytes | memoryview) -> Format | None:
    """The format whose signature `data` begins with, or None where it is none that is read here."""
    head = bytes(data[:80])
    for prefix, name in _PREFIXES:
        if head.startswith(prefix):
            return name
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    if head[:2] == b"BM" and _is_bitmap(head):
        return "bmp"
    if raw_name(head):
        return "raw"
    if head[4:8] == b"ftyp":
        return _isobmff_brand(head)
    for pattern, name in _PATTERNS:
        if pattern.match(head):
            return name
    if _JPEG_START.search(head, 0, _MOST_JUNK + 4):
        return "jpeg"
    if _TGA.match(head) or bytes(data[-len(_TGA_FOOTER) :]) == _TGA_FOOTER:
        return "tga"
    return None


def raw_name(head: bytes) -> str | None:
    """The name of a camera's format that is no TIFF, told from a file's first bytes."""
    if head[4:12] == b"ftypcrx ":
        return CR3
    return next((name for signature, name in _RAWS if head.startswith(signature)), None)


def jpeg_start(data: bytes) -> int:
    """How many stray bytes are in front of a JPEG."""
    found = _JPEG_START.search(data, 0, _MOST_JUNK + 4)
    return found.start() if found else 0


def _is_bitmap(head: bytes) -> bool:
    """Whether a header follows, as "BM" alone begins too many texts.

    The reserved words are zero by the book, and hold something in the files of some programs.
    """
    if head[6:10] == b"\0\0\0\0":
        return True
    size = int.from_bytes(head[14:18], "little")
    planes = 22 if size == 12 else 26
    return size in _BMP_HEADERS and head[planes : planes + 2] == b"\1\0"


def _isobmff_brand(head: bytes) -> Format | None:
    """AVIF and HEIC share a container with MP4: the brands tell them apart."""
    length = min(int.from_bytes(head[:4], "big"), len(head))
    brands = {head[8:12]} | {head[at : at + 4] for at in range(16, length - 3, 4)}
    if brands & _AVIF_BRANDS:
        return "avif"
    return "heic" if brands & _HEIC_BRANDS else None

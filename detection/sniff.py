"""Which image format some bytes are, told from how they begin.

Signatures: ITU-T T.81 B.1 (JPEG), W3C PNG 5.2, RFC 9649 2.4 (WebP), TIFF 6.0 section 2 and BigTIFF,
BITMAPFILEHEADER (BMP), GIF89a 17, ISO/IEC 14496-12 4.3 (AVIF and HEIC, told apart by brand).
"""

from __future__ import annotations

from typing import Literal

Format = Literal["jpeg", "png", "webp", "tiff", "bmp", "gif", "avif", "heic"]

_PREFIXES: tuple[tuple[bytes, Format], ...] = (
    (b"\xff\xd8\xff", "jpeg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"II*\0", "tiff"),
    (b"MM\0*", "tiff"),
    (b"II+\0", "tiff"),
    (b"MM\0+", "tiff"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
)
_AVIF_BRANDS = {b"avif", b"avis"}
_HEIC_BRANDS = {b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"}


def sniff(data: bytes | memoryview) -> Format | None:
    """The format whose signature `data` begins with, or None where it is none that is read here."""
    head = bytes(data[:64])
    for prefix, name in _PREFIXES:
        if head.startswith(prefix):
            return name
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    # "BM" alone begins too many texts; a bitmap's reserved words are zero.
    if head[:2] == b"BM" and head[6:10] == b"\0\0\0\0":
        return "bmp"
    if head[4:8] == b"ftyp":
        return _isobmff_brand(head)
    return None


def _isobmff_brand(head: bytes) -> Format | None:
    """AVIF and HEIC share a container with MP4: the brands tell them apart."""
    length = min(int.from_bytes(head[:4], "big"), len(head))
    brands = {head[8:12]} | {head[at : at + 4] for at in range(16, length - 3, 4)}
    if brands & _AVIF_BRANDS:
        return "avif"
    return "heic" if brands & _HEIC_BRANDS else None

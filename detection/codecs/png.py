"""What a PNG's chunks say before it is decoded: checksums, and how many bits are used (W3C PNG)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from isal import isal_zlib

from detection.codecs.chunks import png_chunks

_DEPTH_AT = 24  # of IHDR, the first chunk (11.2.2)
_DEEP = 16
_FAINT = 1 << 14  # what no sample of 16 bits reaches where at most 14 of them are used
_ANCILLARY = 0x20  # a bit of the name's first letter (5.4)


class Chunk(NamedTuple):
    """A chunk.

    Attributes:
        name: of four letters.
        start, end: of all of it, in the file.
        sound: whether its checksum is right.
    """

    name: bytes
    start: int
    end: int
    sound: bool


def mended(data: bytes) -> tuple[bytes, bool]:
    """A PNG without the ancillary chunks whose checksum is wrong, as browsers read it.

    Returns:
        The file; and whether any checksum was wrong, of those or of pixels. Of a header or a
        palette with a wrong one nothing is right, and the decoder says so.
    """
    wrong = [chunk for chunk in _chunks(data) if not chunk.sound]
    if not wrong:
        return data, False
    view, at, kept = memoryview(data), 0, []
    for chunk in wrong:
        if chunk.name[0] & _ANCILLARY:
            kept.append(view[at : chunk.start])
            at = chunk.end
    return b"".join([*kept, view[at:]]), True


def is_faint(data: bytes, extremes: Sequence[Any], bits: int) -> bool:
    """Whether samples have 16 bits, of which the highest are used nowhere.

    Args:
        data: the file.
        extremes: least and largest value of each colour.
        bits: of these.
    """
    most = max(high for _, high in extremes)
    return data[_DEPTH_AT] == _DEEP and bool(most << (_DEEP - bits) < _FAINT)


def range_said(data: bytes, most: int) -> tuple[float, float] | None:
    """What samples reach from and to, by their significant bits; None where it is not said.

    By the book those are the upper bits; that writers leave them below is seen by the largest.

    Args:
        data: the file.
        most: the largest sample.
    """
    bits = _significant_bits(data)
    return (0, (1 << bits) - 1) if most >> bits == 0 and most else None


def _significant_bits(data: bytes) -> int:
    """Most significant bits of a colour's samples (11.3.2.6, sBIT); 0 where it is not said."""
    for chunk in _chunks(data):
        if chunk.name == b"sBIT":
            return max(data[chunk.start + 8 : min(chunk.end - 4, chunk.start + 11)], default=0)
        if chunk.name == b"IDAT":
            break
    return 0


def _chunks(data: bytes) -> Iterator[Chunk]:
    """All that are there whole."""
    view = memoryview(data)
    for name, at in png_chunks(data):
        end = at.stop + 4
        if end > len(data):
            return
        said = int.from_bytes(view[at.stop : end], "big")
        yield Chunk(name, at.start - 8, end, isal_zlib.crc32(view[at.start - 4 : at.stop]) == said)
        if name == b"IEND":
            return

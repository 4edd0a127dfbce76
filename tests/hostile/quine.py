"""A ZIP that holds itself: who unpacks what is in it, and what is in that, is never done.

Deflate has two instructions: put these bytes, and repeat what was put before. After Russ Cox's
"Zip files all the way down" (2010) they are arranged so that they put themselves. Each takes five
bytes here, and a checksum that the file states of itself is found by linear algebra.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable

_UNIT = 5  # bytes of an instruction
_PREFIX, _SUFFIX = 60, 253  # bytes; the lengths for which a repetition takes just one unit
_NAME = b"a-picture-of-itself-within.jpg"


def quine() -> bytes:
    """The archive's bytes; it is its only member's content, too."""
    size = len(_arranged(bytes(_PREFIX), bytes(_SUFFIX)))
    stored = size - _PREFIX - (_SUFFIX - _UNIT)
    return _solved(lambda crc: _archive(crc, stored, size))


def _archive(crc: int, stored: int, size: int) -> bytes:
    fields = struct.pack("<5HL2LH", 20, 0, 8, 0, 0, crc, stored, size, len(_NAME))
    local = b"PK\3\4" + fields + struct.pack("<H", 0) + _NAME
    central = b"PK\1\2" + struct.pack("<H", 20) + fields + struct.pack("<4H2L", 0, 0, 0, 0, 0, 0)
    central += _NAME
    comment = bytes(_SUFFIX - _UNIT - len(central) - 22)
    start = size - (_SUFFIX - _UNIT)
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, len(central), start, len(comment))
    return _arranged(local, _put(0, last=True) + central + end + comment)


def _arranged(prefix: bytes, suffix: bytes) -> bytes:
    """Prefix, instructions that put all of the result, and suffix, which ends them."""
    before, behind = _put(len(prefix) + _UNIT), _put(len(suffix) + _UNIT)
    again, again_behind = _repeat(len(prefix) + _UNIT), _repeat(len(suffix) + _UNIT)
    one, four, four_again, none = _put(_UNIT), _put(4 * _UNIT), _repeat(4 * _UNIT), _put(0)
    return b"".join(
        (
            *(prefix, before, prefix, before, again),
            *(one, again, one, one, four, again, one, one, four, four_again),
            *(four, four_again, four, four_again, four, four_again),
            *(four, four_again, none, none, behind, four_again, none, none),
            *(behind, again_behind, suffix, again_behind, suffix),
        )
    )


def _put(size: int, last: bool = False) -> bytes:
    """Put the `size` bytes that follow (RFC 1951, 3.2.4)."""
    return bytes([last]) + struct.pack("<HH", size, size ^ 0xFFFF)


def _repeat(size: int) -> bytes:
    """Put the last `size` bytes again: fixed codes (RFC 1951, 3.2.6), 40 bits in all."""
    # the code of a length and of a distance, first bit first, and their extra bits, last bit first
    matches = {
        20: 2 * ["0001000" + "01000" + "110"],  # length 10, distance 17 + 3
        65: ["0010100" + "011" + "01100" + "00000"],  # length 59 + 6, distance 65
        258: ["11000101" + "10000" + "1000000"],  # length 258, distance 257 + 1
    }[size]
    bits = "010" + "".join(matches) + "0000000"
    bits += (8 * _UNIT - len(bits)) // 10 * ("010" + "0000000")  # a block without content
    return int(bits[::-1], 2).to_bytes(_UNIT, "little")


def _solved(archive: Callable[[int], bytes]) -> bytes:
    """The archive that states its own checksum, which is affine in the bits that are stated."""
    base = zlib.crc32(archive(0))
    # what each bit of the stated one changes in the true one, less itself: base is to be their sum
    columns = [zlib.crc32(archive(1 << bit)) ^ base ^ (1 << bit) for bit in range(32)]
    pivots: dict[int, tuple[int, int]] = {}
    for bit, column in enumerate(columns):
        used = 1 << bit
        column, used = _reduced(column, used, pivots)
        if column:
            pivots[column.bit_length()] = column, used
    rest, crc = _reduced(base, 0, pivots)
    assert not rest, "no checksum is its own: change the name"
    return archive(crc)


def _reduced(value: int, used: int, pivots: dict[int, tuple[int, int]]) -> tuple[int, int]:
    for top in sorted(pivots, reverse=True):
        if value.bit_length() == top:
            value, used = value ^ pivots[top][0], used ^ pivots[top][1]
    return value, used

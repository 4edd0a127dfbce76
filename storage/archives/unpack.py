"""The compression methods of ZIP members (APPNOTE 4.4.5), each unpacked within what is declared.

Every function takes what is stored and the size that the archive declares, and gives at most one
byte more than that: enough to see a lie. What a member spends is therefore bounded by its stored
and its declared size, whatever its data says.
"""

from __future__ import annotations

import bz2
import lzma
import threading
import zlib
from collections.abc import Callable

from storage.errors import MemberError, MemberErrorCode

ZSTD_WINDOW = 1 << 27
"""Bytes of a zstd window: zstd's own default for decompression."""

XZ_MEMORY = 1 << 28
"""Bytes that unpacking xz may take: `xz -9` needs 65 MiB."""


Unpack = Callable[[memoryview, int, int], bytes | memoryview]

_INFLATE64_FEED = 1 << 9  # its densest codes make 64 KiB of 19 bits: 14 MB of one feed
_MIN_DICTIONARY = 4096  # liblzma takes no smaller one
_ZSTD_FEED = 1 << 9  # its densest blocks make 128 KiB of 4 bytes: 16 MiB of one feed
_ZSTD_MOST = 1 << 31  # the largest window of the format that zstd knows
_LZMA_ENDS = 0x2  # general purpose bit 1, 4.4.4: an end marker says where LZMA data ends


class _Feeds(threading.local):
    """Of each thread one place from which Deflate64 is fed.

    inflate64 1.0 never lets go of what it was given: were each piece an object of its own, all that
    was ever read would stay in memory. What is behind the last piece is zeros, which no stream that
    is whole is read into.
    """

    def __init__(self) -> None:
        self.inflate64 = bytearray(_INFLATE64_FEED)


_feeds = _Feeds()


def _stored(raw: memoryview, size: int, flags: int) -> memoryview:
    return raw


def _inflate(raw: memoryview, size: int, flags: int) -> bytes:
    inflater = zlib.decompressobj(-15)
    try:
        data = inflater.decompress(raw, size + 1)
    except zlib.error as error:
        raise _damaged(error) from error
    return _whole(data, size, ended=inflater.eof)


def _inflate64(raw: memoryview, size: int, flags: int) -> bytes:
    from inflate64 import Inflater  # here, as hardly any archive needs it

    inflater = Inflater()
    data = bytearray()
    feed = _feeds.inflate64
    try:
        for at in range(0, len(raw), _INFLATE64_FEED):
            piece = raw[at : at + _INFLATE64_FEED]
            feed[: len(piece)] = piece
            feed[len(piece) :] = bytes(_INFLATE64_FEED - len(piece))
            data += inflater.inflate(feed)
            if inflater.eof or len(data) > size:
                break
    except ValueError as error:
        raise _damaged(error) from error
    return _whole(bytes(data[: size + 1]), size, ended=inflater.eof)


def _bunzip2(raw: memoryview, size: int, flags: int) -> bytes:
    decoder = bz2.BZ2Decompressor()
    try:
        data = decoder.decompress(raw, size + 1)
    except (OSError, ValueError) as error:
        raise _damaged(error) from error
    return _whole(data, size, ended=decoder.eof)


def _unlzma(raw: memoryview, size: int, flags: int) -> bytes:
    """APPNOTE 5.8.8: version, length of the properties, and LZMA's five bytes of them."""
    properties = bytes(raw[4:9])
    if len(properties) < 5 or bytes(raw[2:4]) != b"\5\0" or properties[0] >= 9 * 5 * 5:
        raise _damaged("its LZMA properties make no sense")
    rest, lc = divmod(properties[0], 9)
    pb, lp = divmod(rest, 5)
    # the dictionary is allocated whole: no distance is longer than what is unpacked
    stated = int.from_bytes(properties[1:], "little")
    dictionary = max(_MIN_DICTIONARY, min(stated, size + 1))
    chain = {"id": lzma.FILTER_LZMA1, "dict_size": dictionary, "lc": lc, "lp": lp, "pb": pb}
    # without an end marker, what is behind the last byte is the coder's own rest, and no data
    ends = bool(flags & _LZMA_ENDS)
    try:
        decoder = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[chain])
        data = decoder.decompress(raw[9:], size + 1 if ends else size)
    except lzma.LZMAError as error:
        raise _damaged(error) from error
    return _whole(data, size, ended=decoder.eof if ends else len(data) == size)


def _unxz(raw: memoryview, size: int, flags: int) -> bytes:
    decoder = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_MEMORY)
    try:
        data = decoder.decompress(raw, size + 1)
    except lzma.LZMAError as error:
        raise _damaged(error) from error
    return _whole(data, size, ended=decoder.eof)


def _unzstd(raw: memoryview, size: int, flags: int) -> bytes:
    import zstandard  # here, as hardly any archive needs it

    # a frame of one segment has its content for a window, however large that is
    window = min(max(ZSTD_WINDOW, size), _ZSTD_MOST)
    context = zstandard.ZstdDecompressor(max_window_size=window)
    data = bytearray()
    left = bytes(raw[:_ZSTD_FEED])
    at, decoder = len(left), context.decompressobj()
    try:
        while left and len(data) <= size:
            data += decoder.decompress(left)
            left = decoder.unused_data if decoder.eof else b""
            if not left:
                left = bytes(raw[at : at + _ZSTD_FEED])
                at += len(left)
            if decoder.eof and left:  # one frame may follow another
                decoder = context.decompressobj()
    except zstandard.ZstdError as error:
        raise _damaged(error) from error
    return _whole(bytes(data[: size + 1]), size, ended=decoder.eof)


def _whole(data: bytes, size: int, *, ended: bool) -> bytes:
    if not ended and len(data) <= size:
        raise MemberError(MemberErrorCode.CORRUPT_ENTRY, "its compressed data ends too early")
    return data


def _damaged(error: Exception | str) -> MemberError:
    return MemberError(MemberErrorCode.CORRUPT_ENTRY, f"its compressed data is damaged ({error})")


METHODS: dict[int, Unpack] = {
    0: _stored,
    8: _inflate,
    9: _inflate64,
    12: _bunzip2,
    14: _unlzma,
    20: _unzstd,  # its number until APPNOTE 6.3.8
    93: _unzstd,
    95: _unxz,
}
"""By method: takes what is stored, the declared size and the general purpose flags (4.4.4).

Each raises MemberError where the data is damaged or ends before the declared size."""

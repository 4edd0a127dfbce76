"""Files that are compressed whole, as a stream: gzip, bzip2, xz, zstd and LZ4."""

from __future__ import annotations

import bz2
import lzma
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from isal import isal_zlib

from storage.archives.ahead import read_ahead, readers
from storage.archives.tarsources import REMOTE_BLOCK
from storage.archives.unpack import XZ_MEMORY, ZSTD_WINDOW
from storage.errors import DamagedError, TransientError
from storage.fs.location import RangeReader

# Bounds what one call may inflate to: zstd's densest blocks make 128 KiB of 4 bytes
_FEED = 4 << 10
_MOST = 1 << 20  # bytes at a time of what has no such bound: bzip2's blocks make 46 MB of 50 bytes
_RETRY_SECONDS = (2, 4)
_SKIPPABLE = tuple(bytes((0x50 + number, 0x2A, 0x4D, 0x18)) for number in range(16))


@dataclass(frozen=True, slots=True)
class Method:
    """One way to compress a file.

    Attributes:
        name: the end of a file's name.
        begins: what such a file may begin with.
        new: makes a decoder of one member, frame or stream of it, as bz2.BZ2Decompressor is one.
        errors: what the decoder raises.
        bounded: whether its `decompress` takes a bound on what it returns.
    """

    name: str
    begins: tuple[bytes, ...]
    new: Callable[[], Any]
    errors: Callable[[], tuple[type[Exception], ...]]
    bounded: bool = False


def _isal_errors() -> tuple[type[Exception], ...]:
    error: Any = isal_zlib.error  # which its stubs take for an instance
    return (error,)


def _zstd() -> Any:
    import zstandard  # here, as the next one: most archives need neither

    return zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW).decompressobj()


def _zstd_errors() -> tuple[type[Exception], ...]:
    import zstandard

    return (zstandard.ZstdError,)


def _lz4() -> Any:
    import lz4.frame

    return lz4.frame.LZ4FrameDecompressor()


METHODS = (
    Method("gz", (b"\x1f\x8b",), lambda: isal_zlib.decompressobj(31), _isal_errors),
    Method("bz2", (b"BZh",), bz2.BZ2Decompressor, lambda: (OSError, ValueError), bounded=True),
    Method(
        "xz",
        (b"\xfd7zXZ\0",),
        lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_MEMORY),
        lambda: (lzma.LZMAError,),
        bounded=True,
    ),
    Method("lz4", (b"\x04\x22\x4d\x18",), _lz4, lambda: (RuntimeError, ValueError)),
    # a skippable frame may stand before LZ4 as well; only zstd's tools write one
    Method("zst", (b"\x28\xb5\x2f\xfd", *_SKIPPABLE), _zstd, _zstd_errors),
)


def method_of(head: bytes) -> Method | None:
    """How a file is compressed, by its first bytes; None where it is not."""
    return next((method for method in METHODS if head.startswith(method.begins)), None)


def expanded(reader: RangeReader, method: Method, note: Callable[[float], None]) -> Iterator[bytes]:
    """Decompress members, frames or streams, one behind the other, in small pieces.

    Args:
        reader: of the compressed file.
        method: how it is compressed.
        note: is told which share of the file was read, 0 to 1.

    Raises:
        DamagedError: the data is damaged or cut short, or something else stands behind it. All
            that comes before was given.
        TransientError: storage failed.
    """
    decoder: Any = None
    errors = method.errors()
    ended = fresh = False  # whether a member has ended, and nothing has come of the next one yet
    read = 0
    for piece in _feeds(reader):
        read += len(piece)
        note(read / reader.size)
        while piece:
            if decoder is None:
                # files are padded with zeros on tapes and by some uploads
                piece = piece.lstrip(b"\0")
                if not piece:
                    break
                decoder, fresh = method.new(), True
            try:
                data = _step(decoder, piece, method)
                while True:
                    if data:
                        fresh = False
                        yield data
                    if not method.bounded or decoder.eof or decoder.needs_input:
                        break
                    data = _step(decoder, b"", method)
            except errors as error:
                raise _fault(reader, method, error, behind=ended and fresh) from error
            piece = decoder.unused_data if decoder.eof else b""
            ended = ended or decoder.eof
            decoder = None if decoder.eof else decoder
    if decoder is not None:
        raise _fault(reader, method, None, behind=ended and fresh)


def _step(decoder: Any, piece: bytes, method: Method) -> bytes:
    data: bytes = decoder.decompress(piece, _MOST) if method.bounded else decoder.decompress(piece)
    return data


def _fault(
    reader: RangeReader, method: Method, error: Exception | None, *, behind: bool
) -> DamagedError:
    if behind:
        return DamagedError(reader.uri, f"has something behind the end of its {method.name} data")
    if error is None:
        return DamagedError(reader.uri, f"is cut short: its {method.name} data ends too early")
    if "too much memory" in str(error) or "Memory usage limit" in str(error):
        most = ZSTD_WINDOW if method.name == "zst" else XZ_MEMORY
        return DamagedError(
            reader.uri,
            f"was compressed with a window above what is read, {most >> 20} MiB",
            "compress it again without --long or --ultra"
            if method.name == "zst"
            else "compress it again with xz -9 or less",
        )
    what = f"is damaged: its {method.name} data cannot be decompressed ({error})"
    return DamagedError(reader.uri, what)


def _feeds(reader: RangeReader) -> Iterator[bytes]:
    """The file in small pieces, at its end byte by byte.

    Where a decoder finds a wrong checksum, it gives nothing of the piece that holds it.
    """
    read = 0
    for block in _blocks(reader):
        for at in range(0, len(block), _FEED):
            piece = block[at : at + _FEED]
            read += len(piece)
            if read + _FEED < reader.size:
                yield piece
            else:
                yield from (piece[one : one + 1] for one in range(len(piece)))


def _blocks(reader: RangeReader) -> Iterator[bytes]:
    """Read the file block by block, the next one while this one is worked on."""

    def read(start: int, end: int) -> bytes:
        # Nobody above can read a part of a stream again, so this is where it is tried again.
        for delay in _RETRY_SECONDS:
            try:
                return reader.read(start, end)
            except TransientError:
                time.sleep(delay * random.uniform(1, 1.5))
        return reader.read(start, end)

    starts = range(0, reader.size, REMOTE_BLOCK)
    ranges = ((start, min(start + REMOTE_BLOCK, reader.size)) for start in starts)
    with readers(1) as pool:
        yield from read_ahead(pool, read, ranges, 2 * REMOTE_BLOCK)

"""TAR archives: plain ones read by range, compressed ones cut into chunks as they stream by."""

from __future__ import annotations

import random
import threading
import time
import zlib
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import zstandard

from storage.errors import (
    ArchiveError,
    MemberError,
    MemberErrorCode,
    SkipReason,
    TransientError,
    too_large,
    too_many,
    unreadable,
)
from storage.location import RangeReader
from storage.members import Chunk, ChunkSize, Entry, Limits
from storage.names import digest, repeats, skip_reason, unsafe
from storage.tarheaders import Kind, Member, cut_short, scan

_REMOTE_BLOCK = 16 << 20
_LOCAL_BLOCK = 16 << 10  # enough for a header and the small members behind it; seeks are free
# Bounds what one call may inflate to: zstd's densest blocks make 128 KiB of 4 bytes
_FEED = 4 << 10
_RETRY_SECONDS = (2, 4)
_MAX_WINDOW = 1 << 27  # zstd's own default for decompression


class _Window:
    """A `Source` over range reads that fetches a block where it is asked for bytes."""

    def __init__(self, read: Callable[[int, int], bytes], size: int, block: int, uri: str) -> None:
        self.position = 0
        self._fetch = read
        self._size = size
        self._block = block
        self._uri = uri
        self._start = 0
        self._held = b""

    def read(self, size: int) -> bytes:
        end = min(self.position + size, self._size)
        if not (self._start <= self.position and end <= self._start + len(self._held)):
            self._start = self.position
            until = min(self.position + max(size, self._block), self._size)
            self._held = self._fetch(self.position, until)
        data = self._held[self.position - self._start : end - self._start]
        self.position += len(data)
        return data

    def skip(self, size: int) -> None:
        if self.position + size > self._size:
            raise cut_short(self._uri, self.position)
        self.position += size

    def mark(self) -> None:
        pass


class _Memory:
    """A `Source` over bytes in memory."""

    def __init__(self, data: bytes) -> None:
        self.position = 0
        self._data = data

    def read(self, size: int) -> bytes:
        data = self._data[self.position : self.position + size]
        self.position += len(data)
        return data

    def skip(self, size: int) -> None:
        self.position += size

    def mark(self) -> None:
        pass


class _Stream:
    """A `Source` over pieces that come one by one.

    Attributes:
        taken: what was read since the last mark.
    """

    def __init__(self, pieces: Iterator[bytes], uri: str) -> None:
        self.position = 0
        self.taken = bytearray()
        self._pieces = pieces
        self._uri = uri
        self._held = bytearray()

    def read(self, size: int) -> bytes:
        while len(self._held) < size and (piece := next(self._pieces, None)) is not None:
            self._held += piece
        data = bytes(self._held[:size])
        del self._held[:size]
        self.position += len(data)
        self.taken += data
        return data

    def skip(self, size: int) -> None:
        begin, left = self.position, size
        while left > len(self._held):
            left -= len(self._held)
            piece = next(self._pieces, None)
            if piece is None:
                raise cut_short(self._uri, begin)
            self._held = bytearray(piece)
        del self._held[:left]
        self.position += size

    def mark(self) -> None:
        self.taken = bytearray()


@dataclass(frozen=True, slots=True)
class _Index:
    """Where each member's headers begin and its range ends, and whose crop name is taken."""

    begin: array[int]
    end: array[int]
    cuts: list[int]
    again: list[int]


class TarArchive:
    """A plain TAR; see `storage.members.Archive`.

    The headers are walked once, at the first call of `members` or `chunks`. A chunk's range holds
    the headers of its members, so `read` needs the chunk alone.
    """

    kind = "tar"
    share_read = 0.0
    piecemeal = False

    def __init__(self, reader: RangeReader, limits: Limits) -> None:
        self.uri = reader.uri
        self.fingerprint = reader.fingerprint
        self._reader = reader
        self._limits = limits
        self._lock = threading.Lock()
        self._indexed: _Index | None = None

    @property
    def members(self) -> int:
        """Members in the archive."""
        return len(self._index().begin)

    def chunks(self, size: ChunkSize) -> Iterator[Chunk]:
        """Cuts the archive in its order; see `storage.members.Archive.chunks`."""
        index = self._index()
        first = number = 0
        while first < len(index.begin):
            cut = bisect_right(index.cuts, first)
            most = index.cuts[cut] if cut < len(index.cuts) else len(index.begin)
            fits = bisect_right(index.end, index.begin[first] + size.bytes)
            last = max(first + 1, min(fits, first + size.members, most))
            lo, hi = bisect_right(index.again, first - 1), bisect_right(index.again, last - 1)
            yield Chunk(
                number=number,
                first=first,
                count=last - first,
                start=index.begin[first],
                end=index.end[last - 1],
                duplicates=frozenset(index.again[lo:hi]),
            )
            first, number = last, number + 1

    def read(self, chunk: Chunk, *, last_try: bool = False) -> Iterator[Entry]:
        """Reads a chunk's range and yields its members; see `storage.members.Archive.read`."""
        try:
            data = self._reader.read(chunk.start, chunk.end)
        except TransientError as error:
            if not last_try:
                raise
            for index in range(chunk.first, chunk.first + chunk.count):
                # its name stands in its header, which was not given either
                yield Entry(index, f"(member {index})", 0, error=unreadable(error))
        else:
            yield from _entries(data, chunk, self.uri, self._limits)

    def _index(self) -> _Index:
        with self._lock:
            if self._indexed is None:
                self._indexed = self._walk()
            return self._indexed

    def _walk(self) -> _Index:
        block = _LOCAL_BLOCK if self._reader.location.is_local else _REMOTE_BLOCK
        begin, end, cuts = array("q"), array("q"), []
        digests = bytearray()
        with self._reader.held_open() as read:
            for member in scan(_Window(read, self._reader.size, block, self.uri), self.uri):
                if member.end > self._reader.size:
                    raise cut_short(self.uri, member.begin)
                if len(begin) == self._limits.members:
                    raise too_many(self.uri, self._limits.members)
                begin.append(member.begin)
                if _is_kept(member, self._limits):
                    end.append(member.end)
                else:
                    end.append(member.data)
                    cuts.append(len(end))
                digests += digest(member.name)
        if not begin:
            raise _empty(self.uri)
        return _Index(begin, end, cuts, again=repeats(digests).nonzero()[0].tolist())


class TarStream:
    """A TAR in gzip (RFC 1952) or zstd (RFC 8878); see `storage.members.Archive`.

    It can only be read from its start: chunks carry their bytes, and their `start` and `end` count
    in the uncompressed TAR. To tell duplicates, some 100 bytes a member are kept while it streams.
    """

    piecemeal = False

    def __init__(self, reader: RangeReader, limits: Limits, kind: str) -> None:
        self.share_read = 0.0
        self.kind = kind
        self.uri = reader.uri
        self.fingerprint = reader.fingerprint
        self._reader = reader
        self._limits = limits

    @property
    def members(self) -> int | None:
        """None: only the end of the stream tells."""
        return None

    def chunks(self, size: ChunkSize) -> Iterator[Chunk]:
        """Cuts the archive as it streams by; see `storage.members.Archive.chunks`."""
        source = _Stream(self._expanded(), self.uri)
        seen: set[bytes] = set()
        duplicates: list[int] = []
        run = bytearray()
        number = first = count = start = end = 0

        def chunk() -> Chunk:
            return Chunk(
                number, first, count, start, end, data=bytes(run), duplicates=frozenset(duplicates)
            )

        for member in scan(source, self.uri):
            if first + count == self._limits.members:
                raise too_many(self.uri, self._limits.members)
            kept = _is_kept(member, self._limits)
            until = member.end if kept else member.data
            if count and (count == size.members or len(run) + until - member.begin > size.bytes):
                yield chunk()
                number, first, count = number + 1, first + count, 0
                run, duplicates = bytearray(), []
            start = start if count else member.begin
            key = digest(member.name)
            if key in seen:
                duplicates.append(first + count)
            seen.add(key)
            run += source.taken
            source.mark()
            if kept and len(data := source.read(until - member.data)) == until - member.data:
                run += data
            elif kept:
                raise cut_short(self.uri, member.begin)
            count, end = count + 1, until
            if not kept:  # its content is not there, so nothing can follow it in the run
                yield chunk()
                number, first, count = number + 1, first + count, 0
                run, duplicates = bytearray(), []
        if count:
            yield chunk()
        elif not first:
            raise _empty(self.uri)

    def read(self, chunk: Chunk, *, last_try: bool = False) -> Iterator[Entry]:
        """Yields the members of the bytes that a chunk carries."""
        return _entries(chunk.data or b"", chunk, self.uri, self._limits)

    def _expanded(self) -> Iterator[bytes]:
        """Decompresses gzip members or zstd frames, one behind the other, in small pieces."""
        reader, kind = self._reader, self.kind
        new: Callable[[], _Decoder]
        if kind == "tar.gz":
            new = lambda: zlib.decompressobj(31)  # noqa: E731
        else:
            new = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW).decompressobj
        decoder: _Decoder | None = None
        try:
            for number, block in enumerate(_ahead(reader)):
                for at in range(0, len(block), _FEED):
                    piece = block[at : at + _FEED]
                    self.share_read = (number * _REMOTE_BLOCK + at + len(piece)) / reader.size
                    while piece:
                        if decoder is None:
                            # gzip files are padded with zeros on tapes and by some uploads
                            piece = piece.lstrip(b"\0") if kind == "tar.gz" else piece
                            if not piece:
                                break
                            decoder = new()
                        yield decoder.decompress(piece)
                        piece = decoder.unused_data if decoder.eof else b""
                        decoder = None if decoder.eof else decoder
        except (zlib.error, zstandard.ZstdError) as error:
            raise ArchiveError(
                f"{reader.uri} is damaged: its {kind[4:]} data cannot be decompressed ({error}); "
                "copy or download it again"
            ) from error
        if decoder is not None:
            raise ArchiveError(
                f"{reader.uri} is cut short: its {kind[4:]} data ends too early; "
                "copy or download it again"
            )


def _is_kept(member: Member, limits: Limits) -> bool:
    """Whether its content is read at all; a chunk ends behind the headers of one that is not."""
    return member.size <= limits.member_bytes and member.kind is not Kind.SPARSE


def _entries(data: bytes, chunk: Chunk, uri: str, limits: Limits) -> Iterator[Entry]:
    view = memoryview(data)
    index = chunk.first
    for member in scan(_Memory(data), uri):
        skip = _skip(member)
        error = None if skip else _refusal(member, limits)
        content = None
        if not (skip or error):
            content = view[member.data : member.data + member.size]
        yield Entry(index, member.name, member.size, content, skip, error)
        index += 1
    if index != chunk.first + chunk.count:
        raise ArchiveError(f"{uri}: chunk {chunk.number} belongs to another archive")


def _skip(member: Member) -> SkipReason | None:
    if member.kind is Kind.LINK:
        return SkipReason.LINK
    return SkipReason.SPECIAL_FILE if member.kind is Kind.SPECIAL else skip_reason(member.name)


def _refusal(member: Member, limits: Limits) -> MemberError | None:
    if (why := unsafe(member.name)) is not None:
        return MemberError(MemberErrorCode.UNSAFE_NAME, f"the name is refused: {why}")
    if member.kind is Kind.SPARSE:
        return MemberError(
            MemberErrorCode.UNSUPPORTED_COMPRESSION,
            "it is stored as a GNU sparse file; repack the archive without --sparse",
        )
    if member.size > limits.member_bytes:
        return too_large(member.size, limits.member_bytes)
    return None


def _empty(uri: str) -> ArchiveError:
    return ArchiveError(f"{uri} is an empty TAR: there is nothing in it to work on")


class _Decoder(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, /) -> bytes: ...


def _ahead(reader: RangeReader) -> Iterator[bytes]:
    """Reads the file block by block, the next one while this one is worked on."""

    def read(start: int) -> bytes:
        # Nobody above can read a part of a stream again, so this is where it is tried again.
        for delay in _RETRY_SECONDS:
            try:
                return reader.read(start, min(start + _REMOTE_BLOCK, reader.size))
            except TransientError:
                time.sleep(delay * random.uniform(1, 1.5))
        return reader.read(start, min(start + _REMOTE_BLOCK, reader.size))

    pool = ThreadPoolExecutor(1, thread_name_prefix="read-ahead")
    try:
        coming = pool.submit(read, 0)
        for start in range(_REMOTE_BLOCK, reader.size, _REMOTE_BLOCK):
            block = coming.result()
            coming = pool.submit(read, start)
            yield block
        yield coming.result()
    finally:
        # without waiting: the garbage collector may be what ends this, in a thread that holds the
        # very lock that joining another takes
        pool.shutdown(wait=False, cancel_futures=True)

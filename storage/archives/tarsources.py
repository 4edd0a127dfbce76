"""What a TAR is read from, in order: ranges of a file, bytes in memory, a decompressed stream."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from io import SEEK_CUR, BytesIO

from storage.errors import DamagedError

REMOTE_BLOCK = 16 << 20
"""Bytes read at once from elsewhere than the local disk."""

_FAR = 2 << 20  # bytes: to read as much in vain takes about as long as one more request
_HEADERS = 64 << 10  # bytes: of a member's headers, and of small files behind them


class Window:
    """A `Source` over range reads that fetches a block where it is asked for bytes.

    Behind a large member, that was passed over, it fetches less: what follows may be large as well,
    and of that no more than the headers is wanted.
    """

    def __init__(self, read: Callable[[int, int], bytes], size: int, block: int) -> None:
        self.position = 0
        self.fault: DamagedError | None = None
        self._fetch = read
        self._size = size
        self._block = block
        self._start = 0
        self._held = b""

    def read(self, size: int) -> bytes:
        """Return the next bytes; see `Source.read`."""
        end = min(self.position + size, self._size)
        if not (self._start <= self.position and end <= self._start + len(self._held)):
            far = self.position > self._start + len(self._held) + _FAR
            block = min(self._block, _HEADERS) if far else self._block
            self._start = self.position
            until = min(self.position + max(size, block), self._size)
            self._held = self._fetch(self.position, until)
        data = self._held[self.position - self._start : end - self._start]
        self.position += len(data)
        return data

    def skip(self, size: int) -> None:
        """Pass over bytes; see `Source.skip`."""
        self.position = min(self.position + size, self._size)

    def mark(self) -> None:
        """Nothing: the file has it all."""


class Memory(BytesIO):
    """A `Source` over bytes in memory."""

    fault = None

    @property
    def position(self) -> int:
        """Bytes read or passed over so far."""
        return self.tell()

    def skip(self, size: int) -> None:
        """Pass over bytes, and over the end: a chunk lacks the content of what is not read."""
        self.seek(size, SEEK_CUR)

    def mark(self) -> None:
        """Nothing: what was read is in memory anyhow."""


class Stream:
    """A `Source` over pieces that come one by one.

    Attributes:
        taken: what was read since the last mark.
        fault: of the pieces, where they ended too early.
    """

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self.position = 0
        self.taken = bytearray()
        self.fault: DamagedError | None = None
        self._pieces = pieces
        self._held = bytearray()

    def read(self, size: int) -> bytes:
        """Return the next bytes; see `Source.read`."""
        while len(self._held) < size and (piece := self._next()) is not None:
            self._held += piece
        data = bytes(self._held[:size])
        del self._held[:size]
        self.position += len(data)
        self.taken += data
        return data

    def skip(self, size: int) -> None:
        """Pass over bytes; see `Source.skip`."""
        left = size
        while left > len(self._held) and (piece := self._next()) is not None:
            left -= len(self._held)
            self._held = bytearray(piece)
        passed = min(left, len(self._held))
        del self._held[:passed]
        self.position += size - left + passed

    def mark(self) -> None:
        """Forget what was taken."""
        self.taken = bytearray()

    def _next(self) -> bytes | None:
        try:
            return next(self._pieces, None)
        except DamagedError as error:
            self.fault = error
            return None

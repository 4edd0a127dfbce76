"""What is read as if it were a file: a part of one, bytes in memory, a copy on disk."""

from __future__ import annotations

import os
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import IO

import fsspec

from storage.errors import DamagedError
from storage.fs.faults import translated
from storage.fs.fingerprint import Fingerprint
from storage.fs.location import Location, RangeReader

Range = Callable[[int, int], bytes]
_OPEN = 4 + (os.cpu_count() or 1) // 4  # one for each chunk in flight, or copies are made anew


class Part(RangeReader):
    """The bytes [start, end) of another reader's file, under a name of their own."""

    def __init__(self, whole: RangeReader, start: int, end: int, name: str) -> None:
        known = Fingerprint(end - start, whole.fingerprint.version)
        super().__init__(replace(whole.location, uri=name), known)
        self._whole = whole
        self._start = start

    def read(self, start: int, end: int) -> bytes:
        """Return the bytes [start, end) of the part; see `RangeReader.read`."""
        return self._whole.read(self._start + start, self._start + end)

    @contextmanager
    def held_open(self) -> Iterator[Range]:
        """See `RangeReader.held_open`."""
        with self._whole.held_open() as read:
            yield lambda start, end: read(self._start + start, self._start + end)


class _Here(RangeReader):
    """Bytes of this process, where a seek costs nothing."""

    def __init__(self, name: str, size: int) -> None:
        super().__init__(Location(name, fsspec.filesystem("file"), name), Fingerprint(size, ""))

    @contextmanager
    def held_open(self) -> Iterator[Range]:
        """See `RangeReader.held_open`."""
        yield self.read


class Held(_Here):
    """Bytes in memory."""

    def __init__(self, data: memoryview, name: str) -> None:
        super().__init__(name, len(data))
        self._data = data

    def read(self, start: int, end: int) -> bytes:
        """Return the bytes [start, end); see `RangeReader.read`."""
        return bytes(self._data[start:end])


class Copy(_Here):
    """A temporary file, filled when it is first needed and again after `release`.

    Args:
        name: of what is copied, for messages.
        pieces: gives all of it, the same at every call.
    """

    def __init__(self, name: str, pieces: Callable[[], Iterator[bytes]]) -> None:
        super().__init__(name, 0)
        self._pieces = pieces
        self._lock = threading.Lock()
        self._file: IO[bytes] | None = None

    def fill(self) -> None:
        """Have the file there, and its size known.

        Raises:
            TransientError: no room on the disk, or storage failed.
            What the pieces raise.
        """
        with self._lock:
            self._filled()

    def read(self, start: int, end: int) -> bytes:
        """Return the bytes [start, end); see `RangeReader.read`."""
        with self._lock:
            file = self._filled()
            with translated(self.uri, "read"):
                file.seek(start)
                return file.read(end - start)

    def release(self) -> bool:
        """Remove the file, unless it is in use at this moment; say whether it did."""
        if not self._lock.acquire(blocking=False):
            return False
        try:
            if self._file is not None:
                self._file.close()
                self._file = None
            return True
        finally:
            self._lock.release()

    def _filled(self) -> IO[bytes]:
        if self._file is not None:
            return self._file
        with translated(self.uri, "copy"), ExitStack() as stack:
            # it has no name: it is gone with this process, however that ends
            file = stack.enter_context(tempfile.TemporaryFile())
            try:
                for piece in self._pieces():
                    file.write(piece)
            except DamagedError as error:  # what came before is whole
                if not file.tell():
                    raise
                self.fault = error
            file.flush()
            self.fingerprint = Fingerprint(file.tell(), "")
            stack.pop_all()
        self._file = file
        return file


class Copies:
    """The copies of one batch in this process, few of which are on disk at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[bytes, Copy] = OrderedDict()

    def get(self, key: bytes, name: str, pieces: Callable[[], Iterator[bytes]]) -> Copy:
        """The copy that goes by a key, filled.

        Raises:
            As of `Copy.fill`.
        """
        with self._lock:
            copy = self._known.setdefault(key, Copy(name, pieces))
            self._known.move_to_end(key)
            for other, old in list(self._known.items())[:-_OPEN]:
                if old.release():
                    del self._known[other]
        copy.fill()
        return copy

"""What a client sends, streamed into storage: there whole, or not at all.

An upload has a folder of its own, and a record of what was written there. On a local disk each file
grows under another name, and is synced and renamed; on an object store it is a multipart upload,
completed at the end.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading
from contextlib import suppress
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any, Protocol, Self
from uuid import uuid4

from intake.control.records import Record
from intake.control.store import UPLOADS, part_name
from storage.errors import OutputError, TransientError
from storage.fs.faults import translated
from storage.fs.location import Location, resolve
from storage.output.names import crop_stem

_BLOCK = 1 << 20  # bytes handed to a thread at a time
_PART = 8 << 20  # bytes of one part of an object, of which there may be 10,000
_MOST_PARTS = 9_000
_SUFFIX_CHARACTERS = 6


class _Sink(Protocol):
    def write(self, data: bytearray) -> object: ...

    def commit(self) -> None: ...

    def abort(self) -> None: ...


class _LocalSink:
    def __init__(self, folder: Path, name: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._place = folder / name
        self._part = folder / part_name(name)
        self._file = self._part.open("xb")
        self.write = self._file.write

    def commit(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._part.rename(self._place)

    def abort(self) -> None:
        self._file.close()
        self._part.unlink(missing_ok=True)


class _ObjectSink:
    def __init__(self, fs: Any, path: str, part: int) -> None:
        self._file = fs.open(path, "wb", block_size=part, autocommit=False)
        self.write = self._file.write

    def commit(self) -> None:
        self._file.close()
        self._file.commit()

    def abort(self) -> None:
        self._file.closed = True  # or it would send what it holds when it is forgotten
        self._file.discard()


class _NoSink:
    def write(self, data: bytearray) -> None:
        """Only the digest is wanted."""

    commit = abort = lambda self: None


class Upload:
    """A folder that one request fills. Left without `keep`, all that was written there is removed.

    Every method raises OutputError where the store cannot be written to, TransientError where
    another try may help.

    Args:
        store: folder or prefix.
        most_bytes: that may come.
        stored: whether anything is to be kept; else only what came is made known.
    """

    def __init__(self, store: str, most_bytes: int, *, stored: bool = True) -> None:
        self.id = uuid4().hex
        self._stored = stored
        self._digest = hashlib.sha256()
        self.uri = f"{store}/{UPLOADS}/{self.id}"
        self._place: Location = resolve(self.uri)
        self._record = Record(store, self.id)
        self._part = max(_PART, most_bytes // _MOST_PARTS)
        self._lock = threading.Lock()  # a write goes on in its thread when its request is cancelled
        self._sink: _Sink | None = None
        self._written: list[str] = []
        self._bytes = 0  # of the file
        self._waiting = bytearray()
        self._writing: asyncio.Future[None] | None = None
        self._kept = self._over = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        writing = self._writing
        if writing is not None and not writing.cancel() and not writing.cancelled():
            writing.exception()  # something else went wrong as well, and is reported
        if not self._kept:
            # Handed to a thread at once, and shielded: a service that stops waits for its threads,
            # while a task that is cancelled before its first step never takes it.
            await asyncio.shield(asyncio.get_running_loop().run_in_executor(None, self.remove))

    async def begin(self, name: str) -> None:
        """Begins a file; the one before must be ended."""
        await asyncio.to_thread(self._do, "write", self._begin, name)

    async def write(self, data: bytes) -> None:
        """Add to the file."""
        self._waiting += data
        if len(self._waiting) >= _BLOCK:
            await self._flush()

    async def end(self) -> None:
        """End the file: now it is there."""
        await self._flush()
        await self._written_out()
        await asyncio.to_thread(self._do, "write", self._commit)

    def digest(self) -> str:
        """Of all files that were ended, in their order, whatever they are called."""
        return self._digest.hexdigest()

    def keep(self) -> None:
        """Has everything stay where it is.

        Raises:
            TransientError: it has been removed, as the service is stopping.
        """
        self._do("write", self._record.complete)
        with self._lock:
            if self._over:
                raise TransientError(f"{self.uri} was given up: the service is stopping")
            self._kept = True

    def remove(self) -> None:
        """Remove everything that it has written, kept or not."""
        self._do("remove", self._discard)

    async def _flush(self) -> None:
        """Has a block written while the next one comes."""
        await self._written_out()
        block, self._waiting = self._waiting, bytearray()
        write = asyncio.to_thread(self._do, "write", self._write, block)
        self._writing = asyncio.ensure_future(write)

    async def _written_out(self) -> None:
        writing, self._writing = self._writing, None
        if writing is not None:
            await writing

    def _begin(self, name: str) -> None:
        self._bytes = 0
        if not self._stored:
            self._sink = _NoSink()
            return
        self._record.add(name)
        self._written.append(name)
        if self._place.is_local:
            self._sink = _LocalSink(Path(self._place.path), name)
        else:
            self._sink = _ObjectSink(self._place.fs, self._path(name), self._part)

    def _write(self, block: bytearray) -> None:
        assert self._sink is not None
        self._digest.update(block)
        self._bytes += len(block)
        self._sink.write(block)

    def _commit(self) -> None:
        assert self._sink is not None
        self._sink.commit()
        self._sink = None
        self._digest.update(f"\n{self._bytes}\n".encode())

    def _discard(self) -> None:
        self._over = True
        if not self._stored:
            return
        unfinished, self._sink = self._sink, None
        if unfinished is not None:
            unfinished.abort()
            self._written.pop()
        for name in self._written:
            if self._place.is_local:
                Path(self._path(name)).unlink(missing_ok=True)
            else:
                self._place.fs.rm_file(self._path(name))
        if self._place.is_local:
            with suppress(OSError):  # there is none yet, or somebody has put something in it
                Path(self._place.path).rmdir()
        if self._record.begun:
            self._record.remove()

    def _path(self, name: str) -> str:
        return f"{self._place.path}/{name}"

    def _do(self, doing: str, act: Any, *arguments: Any) -> None:
        with self._lock:
            if self._over:
                return
            with translated(self.uri, doing, OutputError):
                act(*arguments)


def file_name(name: str, index: int = 0, *, duplicate: bool = False) -> str:
    """The name under which a client's file is stored: its own where every storage takes that.

    Args:
        name: as the client calls it; of a path only the last part counts.
        index: its place in the request.
        duplicate: whether another file of the request is called the same.
    """
    path = PurePosixPath(name.replace("\\", "/").rpartition("/")[2])
    suffix = path.suffix if path.suffix[1:].isalnum() and path.suffix.isascii() else ""
    if len(suffix) > _SUFFIX_CHARACTERS:
        suffix = ""
    stem = path.name.removesuffix(suffix).lstrip(".")
    return crop_stem(stem, index, duplicate) + suffix

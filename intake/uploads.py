"""What a client sends, streamed into storage: there whole, or not at all.

An upload has a folder of its own. On a local disk each file in it grows under another name, and is
synced and renamed; on an object store it is a multipart upload, completed at the end.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import threading
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any, Protocol, Self
from uuid import uuid4

from storage.errors import OutputError, TransientError
from storage.location import FOREIGN, Location, resolve, translate
from storage.names import crop_stem

UPLOADS = "uploads"  # below the store
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
        self._part = folder / f".{name}.part"
        self._file = self._part.open("xb")
        self.write = self._file.write

    def commit(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._part.rename(self._place)

    def abort(self) -> None:
        self._file.close()


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


class Upload:
    """A folder that one request fills. Left without `keep`, it is removed with all that is in it.

    Every method raises OutputError where the store cannot be written to, TransientError where
    another try may help.

    Args:
        store: folder or prefix.
        most_bytes: that may come.
    """

    def __init__(self, store: str, most_bytes: int) -> None:
        self.id = uuid4().hex
        self.uri = f"{store}/{UPLOADS}/{self.id}"
        self._place: Location = resolve(self.uri)
        self._part = max(_PART, most_bytes // _MOST_PARTS)
        self._lock = threading.Lock()  # a write goes on in its thread when its request is cancelled
        self._sink: _Sink | None = None
        self._written: list[str] = []
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
            writing.exception()  # something else went wrong as well, and is told of
        if not self._kept:
            # Handed to a thread at once, and shielded: a service that stops waits for its threads,
            # while a task that is cancelled before its first step never takes it.
            await asyncio.shield(asyncio.get_running_loop().run_in_executor(None, self.remove))

    async def begin(self, name: str) -> None:
        """Begins a file; the one before must be ended."""
        await asyncio.to_thread(self._do, "write", self._begin, name)

    async def write(self, data: bytes) -> None:
        """Adds to the file."""
        self._waiting += data
        if len(self._waiting) >= _BLOCK:
            await self._flush()

    async def end(self) -> None:
        """Ends the file: now it is there."""
        await self._flush()
        await self._written_out()
        await asyncio.to_thread(self._do, "write", self._commit)

    def keep(self) -> None:
        """Has everything stay where it is.

        Raises:
            TransientError: it has been removed, as the service is stopping.
        """
        with self._lock:
            if self._over:
                raise TransientError(f"{self.uri} was given up: the service is stopping")
            self._kept = True

    def remove(self) -> None:
        """Removes everything, kept or not."""
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
        self._written.append(name)
        if self._place.is_local:
            self._sink = _LocalSink(Path(self._place.path), name)
        else:
            self._sink = _ObjectSink(self._place.fs, self._path(name), self._part)

    def _write(self, block: bytearray) -> None:
        assert self._sink is not None
        self._sink.write(block)

    def _commit(self) -> None:
        assert self._sink is not None
        self._sink.commit()
        self._sink = None

    def _discard(self) -> None:
        self._over = True
        unfinished, self._sink = self._sink, None
        if unfinished is not None:
            unfinished.abort()
            self._written.pop()
        if self._place.is_local:
            shutil.rmtree(self._place.path, ignore_errors=True)
        else:
            for name in self._written:
                self._place.fs.rm_file(self._path(name))

    def _path(self, name: str) -> str:
        return f"{self._place.path}/{name}"

    def _do(self, doing: str, act: Any, *arguments: Any) -> None:
        with self._lock:
            if self._over:
                return
            try:
                act(*arguments)
            except FOREIGN as error:
                raise translate(error, self.uri, doing, permanent=OutputError) from error


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

"""Where bytes live: a URI, its fingerprint, and exact range reads."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from io import FileIO
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem

from storage.errors import ArchiveError, DamagedError, TransientError
from storage.fs.faults import foreign, translate, translated
from storage.fs.fingerprint import Fingerprint, changed, of_status, version
from storage.fs.redact import shown_uri
from storage.fs.uri import LOCAL, canonical

_PREFIXED = re.compile(r"(file|local):")
# MemoryFileSystem hands the same file object, with one position, to everybody
_MEMORY = threading.Lock()


@dataclass(frozen=True, slots=True)
class Location:
    """A URI with the file system that serves it.

    Attributes:
        uri: as the caller wrote it; of a web server in the spelling in which it is asked for.
        fs: the fsspec file system.
        path: the same place in that file system's own spelling.
    """

    uri: str
    fs: Any
    path: str

    @property
    def is_local(self) -> bool:
        """Whether it is a path on this machine, where a seek costs next to nothing."""
        return isinstance(self.fs, LocalFileSystem)

    @property
    def is_web(self) -> bool:
        """Whether a web server is asked for it."""
        return "http" in self.fs.protocol

    @property
    def is_s3(self) -> bool:
        """Whether an S3 store is asked for it."""
        return "s3" in self.fs.protocol

    def lies_in(self, folder: Location) -> bool:
        """Whether this is a folder, or below it, however either of them is spelled."""
        if self.is_local != folder.is_local:
            return False
        if not self.is_local:
            inside = f"{self.path.rstrip('/')}/".startswith(f"{folder.path.rstrip('/')}/")
            return inside and type(self.fs) is type(folder.fs)
        wanted = _identity(Path(folder.path))
        real = Path(os.path.realpath(self.path))
        if wanted is None:
            return real.is_relative_to(os.path.realpath(folder.path))
        return any(_identity(one) == wanted for one in (real, *real.parents))


def _identity(path: Path) -> tuple[int, int] | None:
    """What a file is, whatever it is called; None where there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def resolve(uri: str, redirects: str = "no") -> Location:
    """Find the file system for a path or a `scheme://` URI (s3, http, https, file, memory, ...).

    Args:
        uri: the path or URI.
        redirects: where web servers may redirect to, as `web.client` takes it.

    Raises:
        ArchiveError: it is no address, or nothing installed here speaks its scheme.
    """
    found = canonical(uri)
    scheme = found.scheme
    options: dict[str, Any] = {}
    if scheme not in (LOCAL, "memory"):
        # a listing kept from yesterday would hide that an object has changed since
        options["use_listings_cache"] = False
    if found.is_web:
        from storage.fs.web import client

        options |= {"get_client": client, "client_kwargs": {"redirects": redirects}}
    try:
        fs = fsspec.filesystem(scheme, **options)
    except (ValueError, TypeError, ImportError, OSError) as error:
        raise ArchiveError(
            f"cannot open {shown_uri(uri)}: nothing here speaks {scheme}://; "
            "use a path, file://, s3:// or https://, or install fsspec's package for it"
        ) from error
    # fsspec would take the beginning of such a name for a scheme
    path = f"./{found.text}" if found.is_local and _PREFIXED.match(found.text) else found.text
    return Location(found.text if found.is_web else uri, fs, fs._strip_protocol(path))


def probe(location: Location) -> Fingerprint | None:
    """Ask for size and version: the fingerprint of a file, None for a folder or prefix.

    Raises:
        ArchiveError: absent, forbidden, or a server that does not tell the size.
        TransientError: storage did not answer.
    """
    with translated(location.uri, "open"):
        if location.is_local:
            path = Path(location.path)
            status = path.stat()
            return None if path.is_dir() else of_status(status)
        info = location.fs.info(location.path)
    if info["type"] == "directory":
        return None
    if info.get("size") is None:
        raise ArchiveError(
            f"cannot open {location.uri}: its server does not tell its size; "
            "download the archive first"
        )
    return Fingerprint(int(info["size"]), version(info))


class RangeReader:
    """A reader of exact byte ranges of one version of one file. Thread-safe.

    Attributes:
        fault: why there is less than there should be, of what was decompressed to be read.
    """

    def __init__(self, location: Location, fingerprint: Fingerprint) -> None:
        self.location = location
        self.fingerprint = fingerprint
        self.fault: DamagedError | None = None
        self._local = threading.local()

    @property
    def uri(self) -> str:
        """The URI, as its location has it."""
        return self.location.uri

    @property
    def size(self) -> int:
        """Bytes in the file."""
        return self.fingerprint.size

    def read(self, start: int, end: int) -> bytes:
        """Return the bytes [start, end), all of them.

        Raises:
            ArchiveError: the file is gone, forbidden or changed, or cannot be read by range.
            TransientError: no answer, a short one, or one that asks to come back later.
        """
        return self._exactly(self._fetch, start, end)

    @contextmanager
    def held_open(self) -> Iterator[Callable[[int, int], bytes]]:
        """A `read` for many small reads from one thread, which opens a local file only once."""
        if not self.location.is_local:
            yield self.read
            return
        with ExitStack() as stack:
            with translated(self.uri, "open"):
                path = Path(self.location.path)
                file = stack.enter_context(path.open("rb", buffering=0))
            yield partial(self._exactly, partial(self._from_file, file))

    def _exactly(self, fetch: Callable[[int, int], bytes], start: int, end: int) -> bytes:
        if start >= end:
            return b""
        try:
            data = fetch(start, end)
        except foreign() as error:
            raise translate(error, self.uri, "read") from error
        if len(data) != end - start:
            raise TransientError(
                f"{self.uri} answered {len(data)} of {end - start} bytes at {start}"
            )
        return data

    def _fetch(self, start: int, end: int) -> bytes:
        location = self.location
        if location.is_local:
            with Path(location.path).open("rb", buffering=0) as file:
                return self._from_file(file, start, end)
        if location.is_web:
            from storage.fs.web import read_range

            return read_range(location, self.fingerprint, start, end)
        if isinstance(location.fs, MemoryFileSystem):
            with _MEMORY:
                info = location.fs.info(location.path)
                self._check(Fingerprint(info["size"], version(info)))
                return bytes(location.fs.cat_file(location.path, start=start, end=end))
        handle = getattr(self._local, "handle", None)
        if handle is None:
            # its ETag goes along as If-Match with every read that this handle makes
            handle = location.fs.open(location.path, "rb", cache_type="none")
            self._check(Fingerprint(handle.details["size"], version(handle.details)))
            self._local.handle = handle
        handle.seek(start)
        return bytes(handle.read(end - start))

    def _from_file(self, file: FileIO, start: int, end: int) -> bytes:
        self._check(of_status(os.fstat(file.fileno())))
        return _read_fully(file, start, end)

    def _check(self, now: Fingerprint) -> None:
        if now != self.fingerprint:
            raise changed(self.uri)


def _read_fully(file: FileIO, start: int, end: int) -> bytes:
    file.seek(start)
    data = file.read(end - start)
    if len(data) == end - start or not data:
        return data
    pieces = [data]  # one read(2) gives at most 2 GiB, and less on some network mounts
    start += len(data)
    while start < end and (data := file.read(end - start)):
        pieces.append(data)
        start += len(data)
    return b"".join(pieces)


def read_start(location: Location, most: int) -> bytes:
    """Return a file's first `most` bytes, or all of it if it has fewer.

    Never holds much more than that, even if the server ignores the range. Unlike `RangeReader` it
    lets the file system's own errors through, see `faults.foreign`, so that a caller who reads many
    files can tell a missing one from the rest by `faults.is_missing`.
    """
    if location.is_local:
        with Path(location.path).open("rb", buffering=0) as file:
            return _read_fully(file, 0, most)
    if location.is_web:
        from storage.fs import web

        return web.read_start(location, most)
    if isinstance(location.fs, MemoryFileSystem):
        with _MEMORY:
            return bytes(location.fs.cat_file(location.path, start=0, end=most))
    return bytes(location.fs.cat_file(location.path, start=0, end=most))

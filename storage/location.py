"""Where bytes live: a URI, its fingerprint, exact range reads, and what its errors mean."""

from __future__ import annotations

import errno
import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from io import FileIO
from pathlib import Path
from typing import Any

import aiohttp
import botocore.exceptions as aws  # type: ignore[import-untyped]
import fsspec
from fsspec.asyn import sync
from fsspec.implementations.http import HTTPFileSystem
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem

from storage.errors import ArchiveError, StorageError, TransientError
from storage.members import Fingerprint
from storage.redact import shown

FOREIGN: tuple[type[Exception], ...] = (
    OSError,  # timeouts too: asyncio's and fsspec's are OSErrors since Python 3.11
    ValueError,
    aiohttp.ClientError,
    aws.BotoCoreError,
    aws.ClientError,
)
"""What file systems raise. Catch these right around a call and hand them to `translate`."""

_UNREACHED = (
    TimeoutError,
    ConnectionError,
    aiohttp.ClientError,
    aws.ConnectionError,
    aws.HTTPClientError,
    aws.ResponseStreamingError,
)
_HICCUPS = frozenset(
    getattr(errno, name)
    for name in (
        *("ENOSPC", "EDQUOT", "EIO", "EREMOTEIO", "ESTALE", "EBUSY", "EAGAIN", "EINTR"),
        *("ETIMEDOUT", "ENETUNREACH", "ENETDOWN", "EHOSTUNREACH", "EMFILE", "ENFILE", "EPIPE"),
    )
    if hasattr(errno, name)  # Windows has not all of them
)
_THROTTLED = frozenset(
    ("SlowDown", "Throttling", "ThrottlingException", "RequestTimeout", "RequestLimitExceeded")
)
_FORBIDDEN = frozenset(
    ("ExpiredToken", "InvalidAccessKeyId", "InvalidToken", "SignatureDoesNotMatch", "AccessDenied")
)
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")  # two letters: "C:" is a drive
# MemoryFileSystem hands the same file object, with one position, to everybody
_MEMORY = threading.Lock()


@dataclass(frozen=True, slots=True)
class Location:
    """A URI with the file system that serves it.

    Attributes:
        uri: as the caller wrote it.
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


def resolve(uri: str) -> Location:
    """Finds the file system for a path or a `scheme://` URI (s3, http, https, file, memory, ...).

    Raises:
        ArchiveError: nothing installed here speaks the scheme.
    """
    scheme = matched[1].lower() if (matched := _SCHEME.match(uri)) else "file"
    options: dict[str, Any] = {}
    if scheme not in ("file", "local", "memory"):
        # a listing kept from yesterday would hide that an object has changed since
        options["use_listings_cache"] = False
    if scheme in ("http", "https"):
        options["get_client"] = _web_client
    try:
        fs = fsspec.filesystem(scheme, **options)
    except (ValueError, ImportError) as error:
        raise ArchiveError(
            f"cannot open {uri}: nothing here speaks {scheme}://; "
            "use a path, file://, s3:// or https://, or install fsspec's package for it"
        ) from error
    return Location(uri, fs, fs._strip_protocol(uri))


class _RedirectError(aiohttp.ClientError):
    """A web server names another address instead of answering."""


async def _web_client(**options: Any) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(**options, middlewares=(_follow_no_redirect,))


async def _follow_no_redirect(
    request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Whoever may name one web server could else be led to any other, inside this network, too."""
    answer = await send(request)
    target = answer.headers.get("Location")
    if 300 <= answer.status < 400 and target is not None:
        answer.close()
        place = shown(target.partition("?")[0])[:200]
        raise _RedirectError(
            f"its server redirects to {place}, and redirects are not followed; "
            "name the address that it leads to"
        )
    return answer


def probe(location: Location) -> Fingerprint | None:
    """Asks for size and version: the fingerprint of a file, None for a folder or prefix.

    Raises:
        ArchiveError: absent, forbidden, or a server that does not tell the size.
        TransientError: storage did not answer.
    """
    try:
        if location.is_local:
            status = Path(location.path).stat()
            if Path(location.path).is_dir():
                return None
            return _of_status(status)
        info = location.fs.info(location.path)
    except FOREIGN as error:
        raise translate(error, location.uri, "open") from error
    if info["type"] == "directory":
        return None
    if info.get("size") is None:
        raise ArchiveError(
            f"cannot open {location.uri}: its server does not tell its size; "
            "download the archive first"
        )
    return Fingerprint(int(info["size"]), version(info))


def version(info: Mapping[str, Any]) -> str:
    """Picks what tells versions apart from a file's fsspec info or HTTP headers; "" if nothing."""
    for key in ("ETag", "etag", "md5", "mtime", "LastModified", "Last-Modified", "created"):
        if info.get(key):
            return str(info[key])
    return ""


def _of_status(status: os.stat_result) -> Fingerprint:
    return Fingerprint(status.st_size, str(status.st_mtime_ns))


class RangeReader:
    """Reads exact byte ranges of one version of one file. Thread-safe."""

    def __init__(self, location: Location, fingerprint: Fingerprint) -> None:
        self.location = location
        self.fingerprint = fingerprint
        self._local = threading.local()

    @property
    def uri(self) -> str:
        """The URI as the caller wrote it."""
        return self.location.uri

    @property
    def size(self) -> int:
        """Bytes in the file."""
        return self.fingerprint.size

    def read(self, start: int, end: int) -> bytes:
        """Returns the bytes [start, end), all of them.

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
            try:
                path = Path(self.location.path)
                file = stack.enter_context(path.open("rb", buffering=0))
            except FOREIGN as error:
                raise translate(error, self.uri, "open") from error
            yield partial(self._exactly, partial(self._from_file, file))

    def _exactly(self, fetch: Callable[[int, int], bytes], start: int, end: int) -> bytes:
        if start >= end:
            return b""
        try:
            data = fetch(start, end)
        except FOREIGN as error:
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
        if isinstance(location.fs, HTTPFileSystem):
            return bytes(sync(location.fs.loop, self._fetch_http, start, end))
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
        self._check(_of_status(os.fstat(file.fileno())))
        return _read_fully(file, start, end)

    async def _fetch_http(self, start: int, end: int) -> bytes:
        fs, url = self.location.fs, self.location.path
        options = dict(fs.kwargs)
        headers = {
            **options.pop("headers", {}),
            "Range": f"bytes={start}-{end - 1}",
            "Accept-Encoding": "identity",
        }
        session = await fs.set_session()
        async with session.get(fs.encode_url(url), headers=headers, **options) as answer:
            answer.raise_for_status()
            length = answer.content_length
            whole = (start, end) == (0, self.size)
            if answer.status != 206 and not (whole and length == self.size):
                raise ArchiveError(
                    f"cannot read {self.uri}: its server does not answer range requests; "
                    "download the archive first"
                )
            stated = answer.headers.get("Content-Range", "").rpartition("/")[2]
            size = int(stated) if stated.isdigit() else self.size
            self._check(Fingerprint(size, version(answer.headers)))
            if length is not None and length > end - start:
                raise ArchiveError(
                    f"cannot read {self.uri}: its server answers with more than the range asked "
                    "for; download the archive first"
                )
            return bytes(await answer.read())

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
    """Returns a file's first `most` bytes, or all of it if it has fewer.

    Never holds much more than that, even if the server ignores the range. Unlike `RangeReader` it
    lets the file system's own errors through, see `FOREIGN`, so that a caller who reads many files
    can tell a missing one from the rest by `is_missing`.
    """
    if location.is_local:
        with Path(location.path).open("rb", buffering=0) as file:
            return _read_fully(file, 0, most)
    if isinstance(location.fs, HTTPFileSystem):
        return bytes(sync(location.fs.loop, _start_over_http, location, most))
    if isinstance(location.fs, MemoryFileSystem):
        with _MEMORY:
            return bytes(location.fs.cat_file(location.path, start=0, end=most))
    return bytes(location.fs.cat_file(location.path, start=0, end=most))


async def _start_over_http(location: Location, most: int) -> bytes:
    fs = location.fs
    session = await fs.set_session()
    headers = {"Range": f"bytes=0-{most - 1}", "Accept-Encoding": "identity"}
    async with session.get(fs.encode_url(location.path), headers=headers) as answer:
        answer.raise_for_status()
        data = bytearray()
        while len(data) < most and (piece := await answer.content.read(1 << 20)):
            data += piece
    return bytes(data[:most])


def is_missing(error: Exception) -> bool:
    """Whether a file system's error says that there is no such file."""
    statuses = [status for status, _ in map(_answer, _causes(error)) if status]
    return statuses[0] in (404, 410) if statuses else isinstance(error, FileNotFoundError)


def changed(uri: str) -> ArchiveError:
    """The error for a file that is another one than at opening."""
    return ArchiveError(f"{uri} has changed since it was opened; start a new batch for it")


def translate(
    error: Exception,
    uri: str,
    doing: str,
    permanent: type[StorageError] = ArchiveError,
) -> StorageError | TransientError:
    """Says in one line what a file system's error means, and whether to try again.

    Args:
        error: what fsspec, s3fs, botocore, aiohttp or the operating system raised.
        uri: what was being worked on.
        doing: the verb for the message: "open", "read", "write", "list".
        permanent: the class for errors that no second attempt mends.
    """
    causes = list(_causes(error))
    line = f"cannot {doing} {uri}"
    detail = shown(" ".join(str(error).split()))[:200] or type(error).__name__
    for cause in causes:
        status, code = _answer(cause)
        if code in _THROTTLED or status in (408, 425, 429) or (status >= 500 and status != 501):
            return TransientError(f"{line}: the server says {code or status}")
        if status == 412 or code == "PreconditionFailed":
            return permanent(f"{line}: it has changed meanwhile; start a new batch for it")
        if status in (401, 403) or code in _FORBIDDEN:
            return permanent(f"{line}: permission denied ({code or status}); check the credentials")
        if status in (404, 410) or code in ("NoSuchKey", "NoSuchBucket"):
            return permanent(f"{line}: not found; check the spelling of the address")
        if status:
            return permanent(f"{line}: the server refuses with {code or status}: {detail}")
    for cause in causes:
        if isinstance(cause, _RedirectError):
            return permanent(f"{line}: {cause}")
    if any(isinstance(cause, aws.NoCredentialsError) for cause in causes):
        return permanent(
            f"{line}: no credentials found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    if any(isinstance(cause, aiohttp.InvalidURL | aiohttp.ClientSSLError) for cause in causes):
        return permanent(f"{line}: {detail}")
    for cause in causes:
        hiccup = isinstance(cause, OSError) and cause.errno in _HICCUPS
        if hiccup or isinstance(cause, _UNREACHED):
            return TransientError(f"{line}: {detail}")
    if isinstance(error, FileNotFoundError):
        return permanent(f"{line}: not found; check the spelling of the path")
    if isinstance(error, PermissionError):
        return permanent(f"{line}: permission denied; check who may access it")
    return permanent(f"{line}: {detail}")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _answer(error: BaseException) -> tuple[int, str]:
    """The HTTP status and the S3 code that an error carries; (0, "") for none."""
    if isinstance(error, aiohttp.ClientResponseError):
        return error.status, ""
    if isinstance(error, aws.ClientError):
        code = str(error.response.get("Error", {}).get("Code", ""))
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        if code.isdigit():
            return status or int(code), ""
        return status, code
    return 0, ""

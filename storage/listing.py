"""Images that lie one by one: a folder or prefix, or a list of URIs."""

from __future__ import annotations

import hashlib
import json
import os
import re
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import PurePosixPath, PureWindowsPath
from typing import NamedTuple

from fsspec.implementations.http import HTTPFileSystem

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
from storage.location import (
    FOREIGN,
    Location,
    RangeReader,
    changed,
    is_missing,
    read_start,
    resolve,
    translate,
    version,
)
from storage.members import Chunk, ChunkSize, Entry, Fingerprint, Limits
from storage.names import digest, repeats, shortened, skip_reason

_AT_ONCE = 16  # files read at the same time: hides the latency of object stores
_MAX_LIST = 1 << 28  # bytes of a list: it is held in memory
_MAX_LINE = 1 << 13  # characters: servers take no longer address


class _Row(NamedTuple):
    """One file of a listing.

    Attributes:
        name: path below the folder, or the line of the list.
        size: bytes; -1 where nobody has asked yet.
        skip: why it is no file to read, if it is none.
    """

    name: str
    size: int
    skip: SkipReason | None = None


class _Listing:
    """What folders and lists share; a chunk's `directory` is its rows as JSON."""

    kind: str
    uri: str
    fingerprint: Fingerprint
    share_read = 0.0
    piecemeal = True

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._lock = threading.Lock()
        self._known: list[_Row] | None = None

    @property
    def members(self) -> int:
        """Files in the listing."""
        return len(self._rows())

    def chunks(self, size: ChunkSize) -> Iterator[Chunk]:
        """Cuts the listing in its order; see `storage.members.Archive.chunks`."""
        rows = self._rows()
        again = repeats(b"".join(digest(_shown(row.name)) for row in rows)).nonzero()[0].tolist()
        duplicates = deque(again)
        first = number = 0
        while first < len(rows):
            last, spent = first, 0
            for row in islice(rows, first, first + size.members):
                cost = row.size if 0 <= row.size <= self._limits.member_bytes else 0
                if last > first and spent + cost > size.bytes:
                    break
                last, spent = last + 1, spent + cost
            mine = []
            while duplicates and duplicates[0] < last:
                mine.append(duplicates.popleft())
            directory = json.dumps([tuple(row) for row in rows[first:last]]).encode()
            yield Chunk(number, first, last - first, 0, 0, directory, duplicates=frozenset(mine))
            first, number = last, number + 1

    def read(self, chunk: Chunk, *, last_try: bool = False) -> Iterator[Entry]:
        """Reads a chunk's files, some at a time; see `storage.members.Archive.read`."""
        rows = [
            _Row(name, size, None if skip is None else SkipReason(skip))
            for name, size, skip in json.loads(chunk.directory)
        ]
        pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="read-files")
        waiting: deque[Future[Entry]] = deque()
        try:
            for index, row in enumerate(rows, start=chunk.first):
                waiting.append(pool.submit(self._entry, index, row, last_try))
                if len(waiting) == _AT_ONCE:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            # without waiting: the garbage collector may be what ends this, in a thread that holds
            # the very lock that joining another takes
            pool.shutdown(wait=False, cancel_futures=True)

    def _entry(self, index: int, row: _Row, last_try: bool) -> Entry:
        name, size = _shown(row.name), max(row.size, 0)
        if (skip := row.skip or skip_reason(name)) is not None:
            return Entry(index, name, size, skip=skip)
        try:
            data = self._content(row)
        except MemberError as error:
            return Entry(index, name, size, error=error)
        except TransientError as error:
            if not last_try:
                raise
            return Entry(index, name, size, error=unreadable(error))
        return Entry(index, name, len(data), data=data)

    def _content(self, row: _Row) -> bytes:
        limit = self._limits.member_bytes
        if row.size > limit:
            raise too_large(row.size, limit)
        if row.size == 0:  # object stores refuse every range of an empty object
            return b""
        try:
            location = self._locate(row.name)
            data = read_start(location, (row.size if row.size > 0 else limit) + 1)
        except ArchiveError as error:
            raise MemberError(MemberErrorCode.UNREADABLE, str(error)) from error
        except FOREIGN as error:
            meaning = translate(error, _shown(location.uri), "read")
            if not isinstance(meaning, ArchiveError):
                raise meaning from error
            code = MemberErrorCode.MISSING if is_missing(error) else MemberErrorCode.UNREADABLE
            raise MemberError(code, str(meaning)) from error
        if row.size < 0 and len(data) > limit:
            raise MemberError(
                MemberErrorCode.TOO_LARGE, f"it has more than {limit} bytes, the limit for one file"
            )
        if 0 <= row.size != len(data):
            raise MemberError(
                MemberErrorCode.SIZE_MISMATCH,
                f"it no longer has the {row.size} bytes that the listing says; it was changed",
            )
        return data

    def _rows(self) -> list[_Row]:
        with self._lock:
            if self._known is None:
                self._known = self._list()
            return self._known

    def _list(self) -> list[_Row]:
        raise NotImplementedError

    def _locate(self, name: str) -> Location:
        raise NotImplementedError


class FolderArchive(_Listing):
    """A folder or prefix, all below it, in order of path; see `storage.members.Archive`.

    Its fingerprint is the sum of the sizes and a digest of every path, size and version. Symbolic
    links are not followed.
    """

    kind = "folder"

    def __init__(self, location: Location, limits: Limits, known: Fingerprint | None) -> None:
        super().__init__(limits)
        self.uri = location.uri
        self._location = location
        self._expected = known
        if known is None:
            self._rows()
        else:
            self.fingerprint = known

    def _list(self) -> list[_Row]:
        if isinstance(self._location.fs, HTTPFileSystem):
            raise ArchiveError(
                f"cannot list {self.uri}: a web server has no folders; "
                "hand in an archive or a .txt list of image URIs"
            )
        try:
            found = list(
                _local_files(self._location.path)
                if self._location.is_local
                else _remote_files(self._location)
            )
        except FOREIGN as error:
            raise translate(error, self.uri, "list") from error
        if not found:
            raise ArchiveError(f"{self.uri} holds no files: it is empty, or its name is misspelt")
        found.sort()
        sum_of_all = hashlib.blake2b(digest_size=16)
        for row, marker in found:
            sum_of_all.update(json.dumps([*row, marker]).encode())
        size = sum(row.size for row, _ in found)
        self.fingerprint = Fingerprint(size, sum_of_all.hexdigest())
        if self._expected not in (None, self.fingerprint):
            raise changed(self.uri)
        return [row for row, _ in found]

    def _locate(self, name: str) -> Location:
        root = self._location
        separator = "" if root.path.endswith("/") or not root.path else "/"
        path = f"{root.path}{separator}{name}"
        return Location(f"{self.uri.rstrip('/')}/{name}", root.fs, path)


def _local_files(root: str) -> Iterator[tuple[_Row, str]]:
    folders = [""]
    while folders:
        below = folders.pop()
        with os.scandir(os.path.join(root, below)) as entries:  # noqa: PTH118 keeps surrogates
            for entry in entries:
                name = below + entry.name
                if entry.is_symlink():
                    yield _Row(name, 0, SkipReason.LINK), ""
                elif entry.is_dir(follow_symlinks=False):
                    folders.append(name + "/")
                elif entry.is_file(follow_symlinks=False):
                    status = entry.stat(follow_symlinks=False)
                    yield _Row(name, status.st_size), str(status.st_mtime_ns)
                else:
                    yield _Row(name, 0, SkipReason.SPECIAL_FILE), ""


def _remote_files(root: Location) -> Iterator[tuple[_Row, str]]:
    start = len(root.path.rstrip("/")) + 1
    for path, info in root.fs.find(root.path, detail=True).items():
        # consoles make an empty object "folder/" where somebody makes a folder
        if info["type"] != "directory" and not path.endswith("/") and len(path) > start:
            yield _Row(path[start:], int(info["size"] or 0)), version(info)


class UriList(_Listing):
    """Image URIs, in the order of the list; see `storage.members.Archive`.

    Sizes are unknown until a file is read, so only the number of members bounds a chunk, and no
    more than 16 files are in memory ahead of the consumer.
    """

    kind = "list"

    def __init__(self, uris: list[str], limits: Limits) -> None:
        super().__init__(limits)
        self.uri = f"list of {len(uris)} URIs"
        self._reader: RangeReader | None = None
        self._base = ""
        self._known = _lines(uris, self.uri, limits)
        text = "\n".join(uris).encode(errors="surrogatepass")
        self.fingerprint = Fingerprint(0, hashlib.blake2b(text, digest_size=16).hexdigest())

    @classmethod
    def from_file(cls, reader: RangeReader, limits: Limits) -> UriList:
        """A text file in UTF-8 with one URI or path a line; `#` begins a comment line.

        Relative paths count from the list's own folder.
        """
        archive = cls.__new__(cls)
        _Listing.__init__(archive, limits)
        archive.uri, archive.fingerprint = reader.uri, reader.fingerprint
        archive._reader = reader
        archive._base = reader.uri[: max(map(reader.uri.rfind, "/\\")) + 1]
        return archive

    def _list(self) -> list[_Row]:
        assert self._reader is not None
        if self._reader.size > _MAX_LIST:
            raise ArchiveError(
                f"{self.uri} has {self._reader.size:,} bytes, where a list of image URIs has "
                f"{_MAX_LIST:,} at most; split it into several"
            )
        raw = self._reader.read(0, self._reader.size)
        try:
            text = raw.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise ArchiveError(
                f"{self.uri} is not text in UTF-8 (byte {error.start}); save the list as UTF-8"
            ) from error
        lines = (line[0] for line in re.finditer(r"[^\r\n]+", text))
        return _lines(lines, self.uri, self._limits)

    def _locate(self, name: str) -> Location:
        absolute = PurePosixPath(name).is_absolute() or PureWindowsPath(name).is_absolute()
        return resolve(name if "://" in name or absolute else self._base + name)


def _lines(lines: Iterable[str], uri: str, limits: Limits) -> list[_Row]:
    rows: list[_Row] = []
    for line in map(str.strip, lines):
        if not line or line.startswith("#"):
            continue
        if len(line) > _MAX_LINE:
            raise ArchiveError(
                f"{uri} has a line of {len(line):,} characters; put one URI or path on each line"
            )
        if len(rows) == limits.members:
            raise too_many(uri, limits.members)
        rows.append(_Row(line, -1))
    if not rows:
        raise ArchiveError(f"{uri} names no images: put one URI or path on each line")
    return rows


def _shown(name: str) -> str:
    """A name that is text: bytes of a local file name that are not UTF-8 become U+FFFD."""
    return shortened(name.encode(errors="surrogateescape").decode(errors="replace"))

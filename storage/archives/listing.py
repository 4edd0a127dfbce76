"""Images that lie one by one: a folder or prefix, or a list of URIs."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property, partial

import pyarrow as pa

from storage.archives.ahead import read_each
from storage.archives.cutting import Marks, alone, cut, places
from storage.archives.files import Row, decode, encode, error_of, local_files, remote_files
from storage.archives.members import Chunk, ChunkSize, Entry, Inner, Limits, Listed
from storage.archives.naming import Names
from storage.archives.spelling import AUTO
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
from storage.fs.faults import foreign, is_missing, is_page, translate, translated
from storage.fs.fingerprint import Fingerprint, changed
from storage.fs.location import Location, RangeReader, probe, read_start, resolve
from storage.fs.redact import shown_uri
from storage.fs.uri import canonical, folder_of, joined, two_slashes
from storage.output.names import shortened, skip_reason

_AT_ONCE = 16  # files read at the same time: hides the latency of object stores
_MAX_LIST = 1 << 28  # bytes of a list: it is held in memory
_MAX_LINE = 1 << 13  # characters: servers take no longer address
_NOWHERE = "http://-/"


class Listing:
    """What folders and lists share; a chunk's `directory` is its rows as JSON."""

    kind: str
    uri: str
    fingerprint: Fingerprint
    share_read = 0.0
    piecemeal = True
    names = AUTO

    def __init__(self, limits: Limits) -> None:
        self.notes: list[str] = []
        self.limits = limits
        self._lock = threading.Lock()
        self._known: list[Row] | None = None

    @property
    def members(self) -> int:
        """Files in the listing."""
        return len(self.rows())

    def rows(self) -> list[Row]:
        """The files, in their order."""
        with self._lock:
            if self._known is None:
                self._known = self._list()
            return self._known

    def versions(self) -> list[str]:
        """What tells the version of each file; "" where that is not known."""
        return [""] * self.members

    def shown(self, name: str) -> str:
        """A name that is text: bytes of a local one that are not UTF-8 become U+FFFD."""
        return shortened(name.encode(errors="surrogateescape").decode(errors="replace"))

    def locate(self, name: str) -> Location:
        """Where a file is."""
        raise NotImplementedError

    def chunks(self, size: ChunkSize) -> Iterator[Chunk]:
        """Cut the listing in its order; see `storage.archives.members.Archive.chunks`."""
        rows, names = self.rows(), self._names()
        limit = self.limits.member_bytes
        begin, end = places([row.size if 0 <= row.size <= limit else 0 for row in rows])
        for chunk in cut(begin, end, names.again, size, nested=names.nested):
            yield replace(chunk, directory=encode(rows[chunk.first : chunk.last + 1]))

    def listed(self) -> Iterator[Listed]:
        """Give each file; see `storage.archives.members.Archive.listed`."""
        return (Listed(self.shown(row.name), row.size) for row in self.rows())

    def picked(self, indexes: Sequence[int]) -> Iterator[Chunk]:
        """Give some files alone; see `storage.archives.members.Archive.picked`."""
        rows, again = self.rows(), self._again
        for index in indexes:
            directory = encode(rows[index : index + 1])
            yield replace(alone(index, again=bool(again[index])), directory=directory)

    def nested(self) -> Iterator[Chunk]:
        """Give the archives among the files; see `storage.archives.members.Archive.nested`."""
        return self.picked(self._names().nested.tolist())

    def inner(self, chunk: Chunk) -> Inner | None:
        """Find an archive among the files; see `storage.archives.members.Archive.inner`."""
        [row] = decode(chunk.directory)
        name = self.shown(row.name)
        if row.skip or self._skip(name) is not SkipReason.NESTED_ARCHIVE:
            return None
        try:
            with self._as_member_errors(row.name) as location:
                found = probe(location)
            if found is None:
                raise MemberError(MemberErrorCode.UNREADABLE, "it is a folder")
            if 0 <= row.size != found.size:
                raise resized(row.size)
        except MemberError as error:
            return Inner(name, max(row.size, 0), 0, error=error)
        return Inner(name, found.size, found.size, RangeReader(location, found))

    def read(self, chunk: Chunk, *, last_try: bool = False) -> Iterator[Entry]:
        """Read a chunk's files, some at a time; see `storage.archives.members.Archive.read`."""
        rows = decode(chunk.directory)

        def read(place: int) -> Entry:
            return self._entry(chunk.first + place, rows[place], last_try)

        yield from read_each(range(len(rows)), read, _AT_ONCE)

    def _entry(self, index: int, row: Row, last_try: bool) -> Entry:
        name, size = self.shown(row.name), max(row.size, 0)
        if (skip := row.skip or self._skip(name)) is not None:
            return Entry(index, name, size, skip=skip)
        if (fault := error_of(row)) is not None:
            return Entry(index, name, size, error=fault)
        try:
            data = self._content(row)
        except MemberError as error:
            return Entry(index, name, size, error=error)
        except TransientError as error:
            if not last_try:
                raise
            return Entry(index, name, size, error=unreadable(error))
        return Entry(index, name, len(data), data=data)

    def _content(self, row: Row) -> bytes:
        limit = self.limits.member_bytes
        if row.size > limit:
            raise too_large(row.size, limit)
        if row.size == 0:  # object stores refuse every range of an empty object
            return b""
        with self._as_member_errors(row.name) as location:
            data = read_start(location, (row.size if row.size > 0 else limit) + 1)
        if row.size < 0 and len(data) > limit:
            raise MemberError(
                MemberErrorCode.TOO_LARGE, f"it has more than {limit} bytes, the limit for one file"
            )
        if 0 <= row.size != len(data):
            raise resized(row.size)
        return data

    @contextmanager
    def _as_member_errors(self, name: str) -> Iterator[Location]:
        """Where a file is; what is wrong with it for good is raised as its own error."""
        try:
            location = self.locate(name)
            yield location
        except ArchiveError as error:
            raise MemberError(_code(error.__cause__), str(error)) from error
        except foreign() as error:
            meaning = translate(error, shortened(shown_uri(location.uri)), "read")
            if not isinstance(meaning, ArchiveError):
                raise meaning from error
            raise MemberError(_code(error), str(meaning)) from error

    def _skip(self, name: str) -> SkipReason | None:
        return skip_reason(name, system=self.limits.skip_system)

    @cached_property
    def _again(self) -> Marks:
        """Kept for who picks a few members again and again."""
        return self._names().again

    def _names(self) -> Names:
        names = Names(opens=self.limits.nested > 0)
        names.add([self.shown(row.name) for row in self.rows()])
        return names

    def _list(self) -> list[Row]:
        raise NotImplementedError


def _code(error: BaseException | None) -> MemberErrorCode:
    """What a file system's error, for good, means for the file."""
    if isinstance(error, Exception) and is_missing(error):
        return MemberErrorCode.MISSING
    page = isinstance(error, Exception) and is_page(error)
    return MemberErrorCode.WEB_PAGE if page else MemberErrorCode.UNREADABLE


def resized(size: int) -> MemberError:
    """The error for a file that has another size than when it was listed, in bytes."""
    return MemberError(
        MemberErrorCode.SIZE_MISMATCH,
        f"it no longer has the {size} bytes that the listing says; it was changed",
    )


class FolderArchive(Listing):
    """A folder or prefix, all below it, in order of path; see `storage.archives.members.Archive`.

    Its fingerprint is the sum of the sizes and a digest of every path, size and version. Symbolic
    links are not followed unless `limits` says so.
    """

    kind = "folder"

    def __init__(self, location: Location, limits: Limits, known: Fingerprint | None) -> None:
        super().__init__(limits)
        self.uri = location.uri
        self._location = location
        self._expected = known
        self._versions = pa.array([], pa.string())  # takes less room than a list does
        if known is None:
            self.rows()
        else:
            self.fingerprint = known

    def _list(self) -> list[Row]:
        if self._location.is_web:
            raise ArchiveError(
                f"cannot list {self.uri}: a web server has no folders; "
                "hand in an archive or a .txt list of image URIs"
            )
        with translated(self.uri, "list"):
            found = list(
                local_files(self._location.path, follow=self.limits.follow_links)
                if self._location.is_local
                else remote_files(self._location)
            )
        if not found:
            raise ArchiveError(f"{self.uri} holds no files: it is empty, or its name is misspelt")
        found.sort()
        sum_of_all = hashlib.blake2b(digest_size=16)
        for row, marker in found:
            sum_of_all.update(json.dumps([*row.values, marker]).encode())
        size = sum(row.size for row, _ in found)
        self.fingerprint = Fingerprint(size, sum_of_all.hexdigest())
        if self._expected not in (None, self.fingerprint):
            raise changed(self.uri)
        self._versions = pa.array([marker for _, marker in found], pa.string())
        return [row for row, _ in found]

    def versions(self) -> list[str]:
        """See `Listing.versions`."""
        self.rows()
        known: list[str] = self._versions.to_pylist()
        return known

    def locate(self, name: str) -> Location:
        """See `Listing.locate`."""
        root = self._location
        separator = "" if root.path.endswith("/") or not root.path else "/"
        path = f"{root.path}{separator}{name}"
        return Location(f"{self.uri.rstrip('/')}/{name}", root.fs, path)


class UriList(Listing):
    """Image URIs, in the order of the list; see `storage.archives.members.Archive`.

    Sizes are unknown until a file is read, so only the number of members bounds a chunk, and no
    more than 16 files are in memory ahead of the consumer.
    """

    kind = "list"

    def __init__(
        self,
        uri: str,
        fingerprint: Fingerprint,
        lines: Callable[[], Iterable[str]],
        base: str,
        limits: Limits,
    ) -> None:
        super().__init__(limits)
        self.uri = uri
        self.fingerprint = fingerprint
        self._lines = lines
        self._base = base

    @classmethod
    def of(cls, uris: list[str], limits: Limits) -> UriList:
        """The URIs themselves."""
        text = "\n".join(uris).encode(errors="surrogatepass")
        known = Fingerprint(0, hashlib.blake2b(text, digest_size=16).hexdigest())
        archive = cls(f"list of {len(uris)} URIs", known, lambda: uris, "", limits)
        archive.rows()  # raises if they are none
        return archive

    @classmethod
    def from_file(cls, reader: RangeReader, limits: Limits) -> UriList:
        """A text file in UTF-8 with one URI or path a line; `#` begins a comment line.

        Relative paths count from the list's own folder.
        """
        lines, base = partial(_read_lines, reader), folder_of(reader.uri)
        return cls(reader.uri, reader.fingerprint, lines, base, limits)

    def _list(self) -> list[Row]:
        rows: list[Row] = []
        for line in map(str.strip, self._lines()):
            if not line or line.startswith("#"):
                continue
            if len(line) > _MAX_LINE:
                raise ArchiveError(
                    f"{self.uri} has a line of {len(line):,} characters; "
                    "put one URI or path on each line"
                )
            if len(rows) == self.limits.members:
                raise too_many(self.uri, self.limits.members)
            rows.append(Row(_unquoted(line), -1))
        if not rows:
            raise ArchiveError(f"{self.uri} names no images: put one URI or path on each line")
        return rows

    def places(self) -> Iterator[str]:
        """What each line leads to, as a path or URI."""
        return (self.locate(row.name).uri for row in self.rows())

    def locate(self, name: str) -> Location:
        """See `Listing.locate`."""
        return resolve(joined(self._base, name), self.limits.redirects)

    def shown(self, name: str) -> str:
        """The line without its secrets, which tables, reports and crop names would hold."""
        if joined(self._base, name) == name:
            plain = shown_uri(two_slashes(name))
        elif canonical(self._base).is_web:  # a relative address may have a query, too
            plain = shown_uri(f"{_NOWHERE}{name}").removeprefix(_NOWHERE)
        else:
            plain = name
        return super().shown(plain)


def _unquoted(line: str) -> str:
    """The line without the quotes that some programs put around each path."""
    inside = line[1:-1]
    return inside if line[0] in "\"'" and line[-1] == line[0] and inside else line


def _read_lines(reader: RangeReader) -> Iterator[str]:
    if reader.size > _MAX_LIST:
        raise ArchiveError(
            f"{reader.uri} has {reader.size:,} bytes, where a list of image URIs has "
            f"{_MAX_LIST:,} at most; split it into several"
        )
    raw = reader.read(0, reader.size)
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ArchiveError(
            f"{reader.uri} is not text in UTF-8 (byte {error.start}); save the list as UTF-8"
        ) from error
    return (line[0] for line in re.finditer(r"[^\r\n]+", text))

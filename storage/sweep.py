"""The folders that lie side by side in a store, such as its uploads: what is in them, and removal.

Only files that are named are removed, and only while they are what they were when they were listed.
Links are never followed.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from storage.errors import OutputError
from storage.fs.faults import translated
from storage.fs.fingerprint import version, written_at
from storage.fs.location import resolve
from storage.fs.objects import objects_at
from storage.output.output import Output


@dataclass(frozen=True, slots=True)
class Stored:
    """One file, as it was listed.

    Attributes:
        bytes: that it has.
        written: when, in seconds since 1970 by its storage's clock.
        version: what tells it from another of the same name; "" of what is no plain file.
    """

    bytes: int
    written: float
    version: str


@dataclass(frozen=True, slots=True)
class CutOff:
    """An object whose upload was begun and not completed: nobody sees it, and it is paid for.

    Attributes:
        name: its path below the shelf.
        upload: the storage's number for it.
        begun: seconds since 1970.
    """

    name: str
    upload: str
    begun: float


class Shelf:
    """The folders in one folder or prefix of a store.

    Every method raises OutputError where the store cannot be used, TransientError where another try
    may help.

    Args:
        store: a folder or prefix.
        name: of the folder in it.

    Raises:
        OutputError: the store is not there, or the folder in it is a link.
    """

    def __init__(self, store: str, name: str) -> None:
        self.uri = Output(f"{store.rstrip('/')}/{name}").uri  # refuses what would be a pattern
        place = resolve(self.uri)
        self._fs = place.fs
        self._path = place.path.rstrip("/")
        self._local = place.is_local
        self._s3 = place.is_s3
        self._bucket = self._path.partition("/")[0]
        self._objects = objects_at(place)
        if self._local:
            if not Path(self._path).parent.is_dir():
                raise OutputError(f"{store} is no folder. Name the store that holds {name}/.")
            if Path(self._path).is_symlink():
                raise OutputError(f"{self.uri} is a link. Name the store that it leads to.")

    def names(self, name: str = "") -> list[str]:
        """The names of the folders in here, or in one of them, sorted."""
        return sorted(self._list(name)[1])

    def files(self, name: str = "") -> dict[str, Stored]:
        """What lies right in a folder, or beside the folders, but not what is further down."""
        return self._list(name)[0]

    def size(self, name: str) -> int:
        """Bytes of all that is in a folder, at any depth."""
        with translated(f"{self.uri}/{name}", "list", OutputError):
            return sum(self._sizes(name))

    def made(self, name: str) -> float:
        """When a folder was last changed, in seconds since 1970; 0 where it is but a prefix."""
        if not self._local:
            return 0.0
        with translated(f"{self.uri}/{name}", "read", OutputError):
            try:
                return Path(self._below(name)).lstat().st_mtime
            except FileNotFoundError:
                return 0.0

    def remove(self, name: str, files: Mapping[str, Stored]) -> list[str]:
        """Remove files from a folder, and the folder if nothing else is in it.

        Args:
            name: of the folder.
            files: as they were listed; what is another now, or no plain file, stays.

        Returns:
            What is still in the folder.
        """
        there = self.files(name)
        same = [file for file, seen in files.items() if seen.version and there.get(file) == seen]
        path = self._below(name)
        with translated(f"{self.uri}/{name}", "remove", OutputError):
            if self._local:
                for file in same:
                    Path(path, file).unlink(missing_ok=True)
                with suppress(OSError):  # it is not empty, or gone
                    Path(path).rmdir()
            else:
                self._objects.delete([f"{path}/{file}" for file in same])
        return self.left(name)

    def left(self, name: str) -> list[str]:
        """The paths of what is right in a folder, sorted, its own folders with a / at the end."""
        files, folders = self._list(name)
        return sorted([*files, *(f"{folder}/" for folder in folders)])

    def cut_off(self) -> Iterator[CutOff]:
        """The uploads in any of the folders that were never completed; none but on S3."""
        if not self._s3:
            return
        key = self._key("")
        with translated(self.uri, "list the incomplete uploads of", OutputError):
            markers = ("KeyMarker", "UploadIdMarker")
            for page in self._pages("list_multipart_uploads", markers, Prefix=key):
                for one in page.get("Uploads", []):
                    name = one["Key"].removeprefix(key)
                    yield CutOff(name, one["UploadId"], one["Initiated"].timestamp())

    def last_part(self, one: CutOff) -> float:
        """When the last of an incomplete upload came; when it was begun if nothing did."""
        last = one.begun
        with translated(f"{self.uri}/{one.name}", "list the parts of", OutputError):
            where = {"Key": self._key(one.name), "UploadId": one.upload}
            for page in self._pages("list_parts", ("PartNumberMarker",), **where):
                times = (part["LastModified"].timestamp() for part in page.get("Parts", []))
                last = max([last, *times])
        return last

    def abort(self, one: CutOff) -> None:
        """Give up an upload that was never completed, with the bytes that have come of it."""
        with translated(f"{self.uri}/{one.name}", "remove", OutputError):
            self._fs.call_s3(
                "abort_multipart_upload",
                Bucket=self._bucket,
                Key=self._key(one.name),
                UploadId=one.upload,
            )

    def _below(self, name: str) -> str:
        return f"{self._path}/{name}" if name else self._path

    def _key(self, name: str) -> str:
        """What S3 calls something in here."""
        return f"{self._path}/{name}".partition("/")[2]

    def _list(self, name: str) -> tuple[dict[str, Stored], list[str]]:
        """What lies right in a folder: files, links as links, and the names of its folders."""
        path = self._below(name)
        with translated(f"{self.uri}/{name}".rstrip("/"), "list", OutputError):
            try:
                return _list_locally(path) if self._local else self._list_objects(path)
            except FileNotFoundError as error:
                # with the store's answer for a cause it is no prefix that is empty, but a bucket
                if self._s3 and error.__cause__ is not None:
                    raise
                return {}, []

    def _list_objects(self, path: str) -> tuple[dict[str, Stored], list[str]]:
        files, folders = {}, []
        for info in self._fs.ls(path, detail=True):
            name = info["name"].removeprefix(f"{path}/").rstrip("/")
            if info["type"] == "directory":
                folders.append(name)
            elif name and info["name"] == f"{path}/{name}":  # not the folder itself, as an object
                size, at = info["size"] or 0, written_at(info) or 0.0
                files[name] = Stored(size, at, version(info) or str(size))
        return files, folders

    def _sizes(self, name: str) -> Iterator[int]:
        path = self._below(name)
        if self._local:
            for folder, _, files in os.walk(path, onerror=_raise):
                for file in files:
                    with suppress(FileNotFoundError):  # renamed or removed meanwhile
                        yield Path(folder, file).lstat().st_size
        else:
            yield from (info["size"] or 0 for info in self._fs.find(path, detail=True).values())

    def _pages(
        self, method: str, markers: tuple[str, ...], **where: str
    ) -> Iterator[dict[str, Any]]:
        """What S3 lists of the bucket, page by page; `markers` say where the next begins."""
        options: dict[str, Any] = {"Bucket": self._bucket, **where}
        while True:
            page = self._fs.call_s3(method, **options)
            yield page
            if not page.get("IsTruncated"):
                return
            options |= {marker: page[f"Next{marker}"] for marker in markers}


def _list_locally(path: str) -> tuple[dict[str, Stored], list[str]]:
    files: dict[str, Stored] = {}
    folders: list[str] = []
    if Path(path).is_symlink():
        return files, folders
    with os.scandir(path) as entries:
        for one in entries:
            if one.is_dir(follow_symlinks=False):
                folders.append(one.name)
                continue
            with suppress(FileNotFoundError):  # renamed or removed meanwhile
                files[one.name] = _of_status(one.stat(follow_symlinks=False))
    return files, folders


def _of_status(status: os.stat_result) -> Stored:
    plain = stat.S_ISREG(status.st_mode)
    version = f"{status.st_ino}-{status.st_mtime_ns}" if plain else ""
    return Stored(status.st_size, status.st_mtime, version)


def _raise(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error

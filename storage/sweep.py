"""The folders that lie side by side in a store, such as its uploads: how large, and their removal.

Of an object store a thousand objects at a time are in memory, however many there are. Links are
never followed.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from storage.errors import OutputError
from storage.inbox import written_at
from storage.location import FOREIGN, resolve, translate
from storage.output import Output


@dataclass(frozen=True, slots=True)
class Contents:
    """What is in a folder.

    Attributes:
        bytes: of all files in it.
        written: when the last of it was written, in seconds since 1970 by its storage's clock.
    """

    bytes: int
    written: float


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
        self._s3 = "s3" in self._fs.protocol
        if self._local:
            if not Path(self._path).parent.is_dir():
                raise OutputError(f"{store} is no folder. Name the store that holds {name}/.")
            if Path(self._path).is_symlink():
                raise OutputError(f"{self.uri} is a link. Name the store that it leads to.")

    def names(self) -> list[str]:
        """The folders' names, sorted."""
        with self._errors(self.uri, "list"):
            try:
                return sorted(self._names())
            except FileNotFoundError:
                if self._s3:  # no prefix that is empty, but a bucket that is not there
                    raise
                return []

    def measure(self, name: str) -> Contents:
        """Looks at all that is in a folder."""
        size, written = 0, self._made(name)
        with self._errors(f"{self.uri}/{name}", "list"):
            for one, at in self._files(name):
                size, written = size + one, max(written, at)
        return Contents(size, written)

    def remove(self, name: str) -> None:
        """Removes a folder with all that is in it."""
        path = f"{self._path}/{name}"
        with self._errors(f"{self.uri}/{name}", "remove"):
            if self._local:
                shutil.rmtree(path)  # of a link in it, the link alone
            elif self._s3:
                for page in self._pages(f"{path}/"):
                    self._delete([entry["Key"] for entry in page.get("Contents", [])])
            else:
                self._fs.rm(path, recursive=True)

    def cut_off(self) -> Iterator[CutOff]:
        """The uploads in any of the folders that were never completed; none but on S3."""
        if not self._s3:
            return
        bucket, key = self._split(f"{self._path}/")
        options: dict[str, str] = {}
        with self._errors(self.uri, "list the incomplete uploads of"):
            while True:
                page = self._fs.call_s3(
                    "list_multipart_uploads", Bucket=bucket, Prefix=key, **options
                )
                for one in page.get("Uploads", []):
                    name = one["Key"].removeprefix(key)
                    yield CutOff(name, one["UploadId"], one["Initiated"].timestamp())
                if not page.get("IsTruncated"):
                    return
                options = {
                    "KeyMarker": page["NextKeyMarker"],
                    "UploadIdMarker": page["NextUploadIdMarker"],
                }

    def abort(self, one: CutOff) -> None:
        """Gives up an upload that was never completed, with the bytes that have come of it."""
        bucket, key = self._split(f"{self._path}/{one.name}")
        with self._errors(f"{self.uri}/{one.name}", "remove"):
            self._fs.call_s3("abort_multipart_upload", Bucket=bucket, Key=key, UploadId=one.upload)

    def _names(self) -> Iterator[str]:
        if self._local:
            with os.scandir(self._path) as entries:
                yield from (one.name for one in entries if one.is_dir(follow_symlinks=False))
        elif self._s3:
            for page in self._pages(f"{self._path}/", Delimiter="/"):
                for one in page.get("CommonPrefixes", []):
                    yield PurePosixPath(one["Prefix"]).name
        else:
            for info in self._fs.ls(self._path, detail=True):
                if info["type"] == "directory":
                    yield PurePosixPath(info["name"]).name

    def _made(self, name: str) -> float:
        """When an empty folder was made; 0 where folders are but prefixes."""
        if not self._local:
            return 0.0
        with self._errors(f"{self.uri}/{name}", "read"):
            return Path(self._path, name).lstat().st_mtime

    def _files(self, name: str) -> Iterator[tuple[int, float]]:
        """Bytes of each file in a folder, and when it was written."""
        path = f"{self._path}/{name}"
        if self._local:
            for folder, _, files in os.walk(path, onerror=_raise):
                for file in files:
                    with suppress(FileNotFoundError):  # renamed or removed meanwhile
                        status = Path(folder, file).lstat()
                        yield status.st_size, status.st_mtime
        elif self._s3:
            for page in self._pages(f"{path}/"):
                for entry in page.get("Contents", []):
                    yield entry["Size"], entry["LastModified"].timestamp()
        else:
            for info in self._fs.find(path, detail=True).values():
                yield info["size"] or 0, written_at(info) or 0.0

    def _pages(self, path: str, **options: str) -> Iterator[dict[str, Any]]:
        bucket, key = self._split(path)
        while True:
            page = self._fs.call_s3("list_objects_v2", Bucket=bucket, Prefix=key, **options)
            yield page
            if not page.get("IsTruncated"):
                return
            options["ContinuationToken"] = page["NextContinuationToken"]

    def _delete(self, keys: list[str]) -> None:
        if not keys:
            return
        bucket, _ = self._split(self._path)
        answer = self._fs.call_s3(
            "delete_objects",
            Bucket=bucket,
            Delete={"Objects": [{"Key": key} for key in keys], "Quiet": True},
        )
        for refused in answer.get("Errors", []):  # these come with a status of success
            raise PermissionError(f"{refused.get('Key')}: {refused.get('Code')}")

    def _split(self, path: str) -> tuple[str, str]:
        bucket, _, key = path.partition("/")
        return bucket, key

    @contextmanager
    def _errors(self, uri: str, doing: str) -> Iterator[None]:
        try:
            yield
        except FOREIGN as error:
            raise translate(error, uri, doing, permanent=OutputError) from error


def _raise(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error

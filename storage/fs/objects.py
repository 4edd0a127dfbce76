"""Many small objects at once, written and read whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from storage.fs.location import Location


class Objects:
    """Small objects on one file system. Thread-safe.

    Args:
        fs: any fsspec file system.
    """

    def __init__(self, fs: Any) -> None:
        self._fs = fs

    def put(self, files: Mapping[str, bytes]) -> None:
        """Write objects, by path; each is there whole or not at all.

        Raises:
            What the file system raises. Some of them may be there then.
        """
        self._fs.pipe(dict(files))

    def get(self, paths: Sequence[str]) -> list[bytes | Exception]:
        """The content of each object, or why it could not be read."""
        found: list[bytes | Exception] = self._fs.cat_ranges(
            list(paths), None, None, on_error="return"
        )
        return found

    def create(self, path: str, data: bytes) -> bool:
        """Write an object unless it is there, by a conditional put; say whether it did."""
        try:
            self._fs.pipe_file(path, data, mode="create")
        except FileExistsError:
            return False
        return True

    def delete(self, paths: Sequence[str]) -> None:
        """Remove objects; what is not there is no matter."""
        for path in paths:
            with suppress(FileNotFoundError):
                self._fs.rm_file(path)


def objects_at(location: Location) -> Objects:
    """The quickest way to read and write the objects of a location's file system."""
    # who wants objects encrypted or owned in some way has configured s3fs alone
    if not location.is_s3 or location.fs.s3_additional_kwargs:
        return Objects(location.fs)
    from storage.fs.s3objects import S3Objects

    return S3Objects(location.fs)

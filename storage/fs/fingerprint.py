"""What tells one version of a file from another."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from storage.errors import ArchiveError

TIMES = ("LastModified", "mtime", "last_modified", "modified", "updated", "created")
"""What file systems call the time of the last change, in the infos that they give."""


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What tells one version of an archive from another.

    Attributes:
        size: bytes; for a folder or a list the sum over its files where known.
        version: ETag, or modification time, or a digest of a listing; "" where storage has none.
    """

    size: int
    version: str


def of_status(status: os.stat_result) -> Fingerprint:
    """The fingerprint of a file on this machine."""
    return Fingerprint(status.st_size, str(status.st_mtime_ns))


def version(info: Mapping[str, Any]) -> str:
    """Pick what tells versions apart from a file's fsspec info or HTTP headers; "" if nothing."""
    for key in ("ETag", "etag", "md5", "mtime", "LastModified", "Last-Modified", "created"):
        if info.get(key):
            return str(info[key])
    return ""


def fingerprint_of(info: Mapping[str, Any]) -> Fingerprint:
    """The fingerprint of a file by its fsspec info, the same from a listing and from a question."""
    # which may spell the same time in two ways
    tags = {key: value for key, value in info.items() if key not in TIMES}
    return Fingerprint(int(info["size"] or 0), version(tags) or str(written_at(info)))


def written_at(info: Mapping[str, Any]) -> float | None:
    """When a file was last written, in seconds since 1970, by its fsspec info in any spelling."""
    value = next((info[key] for key in TIMES if info.get(key)), None)
    if value is None or isinstance(value, int | float):
        return value
    time = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()


def changed(uri: str) -> ArchiveError:
    """The error for a file that is another one than at opening."""
    return ArchiveError(f"{uri} has changed since it was opened; start a new batch for it")

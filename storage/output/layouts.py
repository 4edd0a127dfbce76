"""How the crops of a batch lie at its output: a file each, or those of a chunk in one."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Protocol

from storage.output.dataset import Table
from storage.output.folder import Folder
from storage.output.pictures import Picture
from storage.output.webdataset import Shards


class Layout(Protocol):
    """One way to lay out crops.

    Attributes:
        data_files: pattern of the files with a chunk's crops, which are only ever written whole;
            "" where each crop is a file.
    """

    data_files: str

    def stem(self, folder: str, chunk: int, member: int, own: str) -> str:
        """Where a member's crops go, below the output: append `_<rank>.<ext>`.

        Args:
            folder: that they go to, below the output.
            chunk, member: their numbers.
            own: the path that follows from the member's name, by `names.crop_stem`.
        """

    def files(self, pictures: Sequence[Picture]) -> dict[str, bytes]:
        """What is written for the crops of a chunk, by path below the output."""

    def without(self, data: bytes, members: Collection[int]) -> bytes | None:
        """A file with a chunk's crops, without those of some members; None where none is left."""

    def read(self, folder: Folder, names: Iterator[str]) -> Iterator[tuple[str, bytes]]:
        """Some crops by their paths, which are in the order of the batch.

        Raises:
            FileNotFoundError: one is gone. Whatever else the file system raises.
        """


class Files:
    """A file a crop, in the archive's folders.

    Args:
        at_once: how many are read, and so are in memory.
    """

    data_files = ""

    def __init__(self, at_once: int) -> None:
        self._at_once = at_once

    def stem(self, folder: str, chunk: int, member: int, own: str) -> str:
        """See `Layout.stem`."""
        return f"{folder}/{own}"

    def files(self, pictures: Sequence[Picture]) -> dict[str, bytes]:
        """See `Layout.files`."""
        return {picture.path: picture.data for picture in pictures}

    def without(self, data: bytes, members: Collection[int]) -> bytes | None:
        """See `Layout.without`. Each file has one crop, which is that of such a member."""
        return None

    def read(self, folder: Folder, names: Iterator[str]) -> Iterator[tuple[str, bytes]]:
        """See `Layout.read`."""
        while some := list(itertools.islice(names, self._at_once)):
            found = folder.objects.get([folder.path(name) for name in some])
            for name, data in zip(some, found, strict=True):
                if isinstance(data, FileNotFoundError):
                    raise FileNotFoundError(name) from data
                if isinstance(data, Exception):
                    raise data
                yield name, data


LAYOUTS: Mapping[str, Layout] = {"files": Files(at_once=64), "shards": Shards(), "parquet": Table()}
_PHOTOS = Files(at_once=1)  # of which each may have many megabytes


def layout_of(record: Mapping[str, Any]) -> Layout:
    """The layout of a batch, by its `batch.json`."""
    return _PHOTOS if is_blurred(record) else LAYOUTS[_chosen(record, "layout", "files")]


def is_blurred(record: Mapping[str, Any]) -> bool:
    """Whether a batch has photographs with their faces covered, and no crops."""
    return _chosen(record, "kind", "crops") == "blurred"


def _chosen(record: Mapping[str, Any], setting: str, default: str) -> str:
    """What an older Facecrop has not asked for is the default."""
    return str(record["settings"].get("output", {}).get(setting, default))

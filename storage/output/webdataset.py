"""Crops packed for training and for object stores: a WebDataset shard is a plain TAR of samples."""

from __future__ import annotations

import io
import itertools
import json
import tarfile
from collections.abc import Iterator, Mapping, Sequence

from storage.output.folder import Folder
from storage.output.layout import CROPS
from storage.output.pictures import Picture


class Shards:
    """A TAR a chunk, in which each crop is followed by what is known of it, as JSON."""

    data_files = f"{CROPS}/*.tar"

    def stem(self, chunk: int, member: int, own: str) -> str:
        """See `Layout.stem`. WebDataset takes what precedes the first dot for the sample's key."""
        return f"{CROPS}/{chunk:08d}.tar/{member:08d}"

    def files(self, chunk: int, pictures: Sequence[Picture]) -> dict[str, bytes]:
        """See `Layout.files`."""
        inside: dict[str, bytes] = {}
        for picture in pictures:
            inside[picture.name] = picture.data
            inside[f"{picture.name.partition('.')[0]}.json"] = _sidecar(picture)
        return {f"{CROPS}/{chunk:08d}.tar": pack(inside)} if inside else {}

    def read(self, folder: Folder, names: Iterator[str]) -> Iterator[tuple[str, bytes]]:
        """See `Layout.read`."""
        for tar, members in itertools.groupby(names, lambda name: name.rpartition("/")[0]):
            data = folder.fs.cat_file(folder.path(tar))
            with tarfile.open(fileobj=io.BytesIO(data)) as crops:
                for name in members:
                    crop = crops.extractfile(name.rpartition("/")[2])
                    assert crop is not None  # `pack` makes nothing but files
                    yield name, crop.read()


def _sidecar(picture: Picture) -> bytes:
    about = picture.about
    first = {"path": about.pop("path"), "rank": about.pop("rank")}
    box = [about[side] for side in ("x", "y", "w", "h")]
    return json.dumps(first | {"box": box} | about).encode()


def pack(files: Mapping[str, bytes]) -> bytes:
    """A TAR of `files`, in their order; the same bytes for the same files, whenever it is made."""
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=tarfile.USTAR_FORMAT) as packed:
        for name, data in files.items():
            header = tarfile.TarInfo(name)
            header.size = len(data)
            packed.addfile(header, io.BytesIO(data))
    return sink.getvalue()

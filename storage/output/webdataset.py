"""Crops packed for training and for object stores: a WebDataset shard is a plain TAR of samples."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import lru_cache

from storage.output.folder import Folder
from storage.output.layout import CROPS
from storage.output.pictures import Picture, by_pack

_TARS_OF_A_CHUNK = 2  # that of its crops, and that of those of faces that were not kept


class Shards:
    """A TAR a chunk, in which each crop is followed by what is known of it, as JSON."""

    data_files = f"{CROPS}/*.tar"

    def stem(self, folder: str, chunk: int, member: int, own: str) -> str:
        """See `Layout.stem`. WebDataset takes what precedes the first dot for the sample's key."""
        return f"{folder}/{chunk:08d}.tar/{member:08d}"

    def files(self, pictures: Sequence[Picture]) -> dict[str, bytes]:
        """See `Layout.files`."""
        return {tar: pack(_with_sidecars(inside)) for tar, inside in by_pack(pictures).items()}

    def without(self, data: bytes, members: Collection[int]) -> bytes | None:
        """See `Layout.without`."""
        kept: dict[str, bytes] = {}
        with tarfile.open(fileobj=io.BytesIO(data)) as opened:
            for header in opened:
                inside = opened.extractfile(header)
                assert inside is not None  # `pack` makes nothing but files
                if int(header.name.partition("_")[0]) not in members:
                    kept[header.name] = inside.read()
        return pack(kept) if kept else None

    def read(self, folder: Folder, names: Iterator[str]) -> Iterator[tuple[str, bytes]]:
        """See `Layout.read`."""

        @lru_cache(_TARS_OF_A_CHUNK)
        def opened(tar: str) -> tarfile.TarFile:
            return tarfile.open(fileobj=io.BytesIO(folder.fs.cat_file(folder.path(tar))))

        for name in names:
            tar, _, member = name.rpartition("/")
            crop = opened(tar).extractfile(member)
            assert crop is not None  # `pack` makes nothing but files
            yield name, crop.read()


def _with_sidecars(pictures: Sequence[Picture]) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    for picture in pictures:
        files[picture.name] = picture.data
        files[f"{picture.name.partition('.')[0]}.json"] = _sidecar(picture)
    return files


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

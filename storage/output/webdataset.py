"""Crops packed for training and for object stores: a WebDataset shard is a plain TAR of samples."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping


def pack(files: Mapping[str, bytes]) -> bytes:
    """A TAR of `files`, in their order; the same bytes for the same files, whenever it is made."""
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=tarfile.USTAR_FORMAT) as packed:
        for name, data in files.items():
            header = tarfile.TarInfo(name)
            header.size = len(data)
            packed.addfile(header, io.BytesIO(data))
    return sink.getvalue()

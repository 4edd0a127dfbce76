"""What a batch that may be extended was made of: its files, in the lots in which it took them.

The first lot is what a folder or a list held when the batch was begun; each extension adds one. A
lot is written once and stays as it is, so a member keeps its index whatever comes later. That it is
there is what extends the batch, at once and as a whole.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from storage.errors import OutputError
from storage.fs.fingerprint import Fingerprint, written_at
from storage.output.columns import LOT
from storage.output.folder import Folder
from storage.output.layout import LOTS, lot_name
from storage.table import read_bytes

UNKNOWN = -1
"""The size of a file that nobody has asked for."""

_SCHEMA = pa.schema([column.field for column in LOT])
_HEAD = b"facecrop.lot"  # in the metadata of the file
_LOT = re.compile(r"(\d{6})(-[0-9a-f]{8})?\.parquet")


@dataclass(frozen=True, slots=True)
class Files:
    """Files of a folder or lines of a list, in their order, one place of each column a file.

    Attributes:
        paths: as the manifest has them; not always unique.
        sizes: bytes; UNKNOWN where nobody has asked.
        versions: ETag or modification time; "" where that is not known.
        members: that each came to: more than one for an archive that was opened.
        fingerprint: of all that was listed then, of which these may be a part.
    """

    paths: Sequence[str]
    sizes: Sequence[int]
    versions: Sequence[str]
    members: Sequence[int]
    fingerprint: Fingerprint


@dataclass(frozen=True, slots=True)
class Lot:
    """What a batch took in at once.

    Attributes:
        files: of the lot.
        first, chunk: how many members and chunks of the batch precede it.
    """

    files: Files
    first: int
    chunk: int

    @property
    def last(self) -> int:
        """How many members the batch has with it."""
        return self.first + int(np.sum(np.asarray(self.files.members, np.int64)))


def encode_lot(lot: Lot) -> bytes:
    """A lot as a Parquet file."""
    files = lot.files
    head = {
        "first": lot.first,
        "chunk": lot.chunk,
        "size": files.fingerprint.size,
        "version": files.fingerprint.version,
    }
    columns = [files.paths, files.sizes, files.versions, files.members]
    schema = _SCHEMA.with_metadata({_HEAD: json.dumps(head).encode()})
    arrays = [pa.array(column, field.type) for column, field in zip(columns, _SCHEMA, strict=True)]
    sink = io.BytesIO()
    pq.write_table(pa.table(arrays, schema=schema), sink, compression="zstd")
    return sink.getvalue()


def decode_lot(name: str, data: bytes) -> Lot:
    """What `encode_lot` was given; `name` is the file's, for the message.

    Raises:
        OutputError: the bytes are no such file.
    """
    try:
        table = read_bytes(data)
        head = json.loads(table.schema.metadata[_HEAD])
        paths, sizes, versions, members = (table[name].to_pylist() for name in _SCHEMA.names)
        then = Fingerprint(head["size"], head["version"])
        files = Files(paths, sizes, versions, members, then)
        return Lot(files, head["first"], head["chunk"])
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
        raise OutputError(
            f"{name} is damaged. Put it back from a copy, or name another output."
        ) from error


def read_lots(folder: Folder, claim: str) -> list[Lot]:
    """The lots of a batch, in their order; none of one that an older Facecrop made.

    Args:
        folder: the output's.
        claim: id of the claim; "" in the first format.
    """
    names = [lot_name(number, claim) for number in range(count_lots(folder, claim))]
    lots = []
    for name, data in zip(names, folder.objects.get(list(map(folder.path, names))), strict=True):
        if isinstance(data, Exception):
            raise data
        lots.append(decode_lot(f"{folder.uri}/{name}", data))
    return lots


def extended_at(folder: Folder, claim: str) -> float | None:
    """When a batch was last extended, in seconds since 1970 by its storage's clock."""
    last = lot_name(count_lots(folder, claim) - 1, claim)
    if last == lot_name(0, claim):
        return None
    infos = (file for file in folder.list(LOTS) if str(file["name"]).endswith(last))
    return next(map(written_at, infos), None)


def count_lots(folder: Folder, claim: str) -> int:
    """How many lots a batch has: the numbers from 0 on that are there."""
    names = (str(file["name"]).rpartition("/")[2] for file in folder.list(LOTS))
    there = {f"{LOTS}/{name}" for name in names if _LOT.fullmatch(name)}
    number = 0
    while lot_name(number, claim) in there:
        number += 1
    return number

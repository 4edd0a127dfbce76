"""Where a photograph is in a batch's tables, by its path or by the hash of its file."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

ROW_COLUMNS = (
    *("member", "path", "status", "error", "message", "bytes", "width", "height", "sha256"),
    *("warnings", "file"),
)
"""What is told of a photograph."""

FACE_COLUMNS = ("rank", "x", "y", "w", "h", "score", "crop")
"""What is told of each of its faces."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """One of the two.

    Attributes:
        path: in the archive, or its end from a folder or the file's name on.
        sha256: of the file, as 64 hexadecimal digits.
    """

    path: str = ""
    sha256: str = ""

    @property
    def column(self) -> str:
        """The column that it is found by."""
        return "sha256" if self.sha256 else "path"

    def among(self, values: pa.Array | pa.ChunkedArray) -> Any:
        """Flags of the values of the column that are meant."""
        if self.sha256:
            return pc.fill_null(pc.equal(values, self.sha256.lower()), False)
        return pc.or_(pc.equal(values, self.path), pc.ends_with(values, f"/{self.path}"))

    def may_be_in(self, group: Any) -> bool:
        """Whether a row group may have it, by the least and the greatest value in it."""
        if not self.sha256:  # of a path only the end may be known
            return True
        (column,) = (
            column
            for place in range(group.num_columns)
            if (column := group.column(place)).path_in_schema == self.column
        )
        known = column.statistics
        if known is None or not known.has_min_max:
            return True
        return bool(known.min <= self.sha256.lower() <= known.max)


def find_rows(manifest: IO[bytes], wanted: Wanted) -> list[dict[str, Any]]:
    """The rows of a finished batch that are meant, with ROW_COLUMNS of each.

    Of each row group the one column is read, and others only where a row is found.
    """
    table = pq.ParquetFile(manifest)
    columns = [name for name in ROW_COLUMNS if name in table.schema_arrow.names]
    found: list[dict[str, Any]] = []
    for group in range(table.num_row_groups):
        if not wanted.may_be_in(table.metadata.row_group(group)):
            continue
        flags = wanted.among(table.read_row_group(group, columns=[wanted.column])[wanted.column])
        if pc.any(flags).as_py():
            found += table.read_row_group(group, columns=columns).filter(flags).to_pylist()
    return found


def rows_of(
    file: IO[bytes], members: Collection[int], columns: Sequence[str]
) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows that some members have in a table of a finished batch, each with its member's index.

    Only row groups that have some of them are read: rows are in the order of members.

    Args:
        file: `manifest.parquet` or `faces.parquet`.
        members: indexes.
        columns: of a row; those that an older Facecrop has not written are left out.
    """
    table = pq.ParquetFile(file)
    there = [name for name in columns if name in table.schema_arrow.names]
    wanted = pa.array(sorted(members), pa.int64())
    place = table.schema_arrow.names.index("member")
    for group in range(table.num_row_groups):
        known = table.metadata.row_group(group).column(place).statistics
        bounded = known is not None and known.has_min_max
        if bounded and not any(known.min <= member <= known.max for member in members):
            continue
        rows = table.read_row_group(group, columns=["member", *there])
        for row in rows.filter(pc.is_in(rows["member"], wanted)).to_pylist():
            yield row.pop("member"), row


def find_in_part(part: pa.Table, wanted: Wanted) -> list[dict[str, Any]]:
    """The rows of a part that are meant, each with its faces."""
    found = []
    for row in part.filter(wanted.among(part[wanted.column])).to_pylist():
        faces = [{name: face[name] for name in FACE_COLUMNS} for face in row["face_rows"] or ()]
        found.append({name: row[name] for name in ROW_COLUMNS} | {"faces": faces})
    return found

"""The faces of a part that are wanted, by an expression over the columns of both tables."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from storage.output.manifest import FACE_FIELDS
from storage.output.where import COLUMNS


def wanted_faces(part: pa.Table, where: pc.Expression) -> set[tuple[int, int]]:
    """Member and rank of each face of a part for which an expression is true.

    Args:
        part: as PART_SCHEMA has it.
        where: by `parse_where`.
    """
    faces = part["face_rows"].combine_chunks()
    rows = pa.Table.from_struct_array(faces.flatten())
    owners = part.take(pc.list_parent_indices(faces))
    of_faces = {field.name for field in FACE_FIELDS}
    columns = {name: (rows if name in of_faces else owners)[name] for name in COLUMNS}
    found = pa.table(columns).filter(where)
    return set(zip(found["member"].to_pylist(), found["rank"].to_pylist(), strict=True))

"""What a batch records: a row a member and a row a face; in parts first, in two tables at the end.

A part is a Parquet file of member rows, each holding its face rows in a nested column, so that one
put commits a chunk whole. `assemble` reads the parts in order, one at a time, writes the two tables
and the two lists of a finished batch, and checks that every member is there once.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from storage.errors import StorageError
from storage.output.cells import as_text, cell
from storage.output.columns import FACES, FAILED, MEMBERS, names
from storage.output.counts import Counts, Status
from storage.output.groups import LargeGroups
from storage.output.people import Joined

FACE_FIELDS = [column.field for column in FACES]
MEMBER_FIELDS = [column.field for column in MEMBERS]
MANIFEST_SCHEMA = pa.schema(MEMBER_FIELDS)
FACES_SCHEMA = pa.schema([*MEMBER_FIELDS[:2], *FACE_FIELDS])
PART_SCHEMA = pa.schema([*MEMBER_FIELDS, pa.field("face_rows", pa.list_(pa.struct(FACE_FIELDS)))])
_CLAIM = b"facecrop.claim"  # in the metadata of a part
# columns that came later than the others
_SINCE = {"pages", "warnings", "not_kept", "file", "phash", "duplicate_of"}
FAILED_COLUMNS = names(FAILED)
_MOST_SKIPPED = 100_000  # rows of `skipped.csv`: a disk's worth of other files is no news


@dataclass(frozen=True, slots=True)
class FaceRow:
    """One face, as `faces.parquet` has it: see `storage.output.columns`."""

    rank: int
    page: int | None
    x: float
    y: float
    w: float
    h: float
    score: float | None
    landmarks: list[float] | None
    crop_x: int
    crop_y: int
    crop_side: int
    outside: float | None
    sharpness: float
    crop: str | None
    turn: int | None = None
    roll: float | None = None
    pick_score: float | None = None
    sharpness_scale: float | None = None
    yaw: float | None = None
    pitch: float | None = None
    brightness: float | None = None
    contrast: float | None = None
    kept: bool | None = None
    kept_why: list[str] | None = None
    crop_w: int | None = None
    crop_h: int | None = None
    crop_scale: float | None = None
    eye_distance: float | None = None
    matrix: list[float] | None = None
    head_height: float | None = None
    eye_line: float | None = None


@dataclass(frozen=True, slots=True)
class MemberRow:
    """One member, as `manifest.parquet` has it: see `storage.output.columns`."""

    member: int
    path: str
    status: Status
    bytes: int
    error: str | None = None
    message: str | None = None
    width: int | None = None
    height: int | None = None
    decode_ms: float | None = None
    detect_ms: float | None = None
    crop_ms: float | None = None
    sha256: str | None = None
    pages: int | None = None
    warnings: list[str] = field(default_factory=list)
    face_rows: list[FaceRow] = field(default_factory=list)
    attempts: int = 1
    file: str | None = None
    phash: str | None = None
    duplicate_of: int | None = None

    @property
    def not_kept(self) -> int:
        """How many of its faces were not worth keeping."""
        return sum(face.kept is False for face in self.face_rows)


class AccountingError(StorageError):
    """The parts do not account for every member exactly once."""


def encode_part(rows: Sequence[MemberRow], claim: str = "") -> bytes:
    """A chunk's rows as one Parquet file, with the id of the claim under which they were made."""
    return _encode([_as_dict(row) for row in rows], claim)


def decode_part(name: str, data: bytes, claim: str = "") -> pa.Table:
    """The rows of a part, as PART_SCHEMA has them.

    Args:
        name: of the part, for messages.
        data: the file.
        claim: id of the claim under which it has to be made; "" for whichever.

    Raises:
        AccountingError: the bytes are no part, or another claim's; the message names it.
    """
    try:
        # of a Python file object, threads of pyarrow's may still hold a piece when the process ends
        file = pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True)
        made = (file.metadata.metadata or {}).get(_CLAIM, b"").decode()
        rows = _as_ours(file.read())
    except (pa.ArrowException, OSError, KeyError) as error:
        raise AccountingError(f"{name} is damaged. Delete it and run the batch again.") from error
    if claim and made != claim:
        raise AccountingError(f"{name} is of another batch. Delete it and run the batch again.")
    return rows


def _as_ours(rows: pa.Table) -> pa.Table:
    """The rows as PART_SCHEMA has them; null in the columns that an older Facecrop had not."""
    face = rows.schema.field("face_rows").type.value_type
    fields = {face.field(place).name for place in range(face.num_fields)}
    if set(rows.column_names) >= _SINCE and fields >= {field.name for field in FACE_FIELDS}:
        return rows.select(PART_SCHEMA.names).cast(PART_SCHEMA)
    missing = _SINCE - {*rows.column_names}
    older = rows.select([name for name in PART_SCHEMA.names if name not in missing])
    # from Python's values: Arrow casts no struct to one with more fields
    return pa.Table.from_pylist(older.to_pylist(), schema=PART_SCHEMA)


def member_rows(part: pa.Table) -> Iterator[MemberRow]:
    """The rows of a part as they were before they were written."""
    for values in part.to_pylist():
        faces = [FaceRow(**face) for face in values.pop("face_rows") or ()]
        of_faces = {name: values.pop(name) for name in ("faces", "not_kept")}
        assert of_faces["faces"] == len(faces)
        values["warnings"] = values["warnings"] or []
        yield MemberRow(**{**values, "status": Status(values["status"])}, face_rows=faces)


def failed_members(part: pa.Table) -> dict[int, int]:
    """The members of a part that failed, with their attempts so far."""
    failed = part.filter(pc.equal(part["status"], Status.FAILED.value))
    return dict(zip(failed["member"].to_pylist(), failed["attempts"].to_pylist(), strict=True))


def failed_rows(rows: pa.Table | pa.RecordBatch) -> list[dict[str, Any]]:
    """The failed members among the rows of a part or a manifest: FAILED_COLUMNS of each."""
    return _rows_of(rows, Status.FAILED)


def _rows_of(rows: pa.Table | pa.RecordBatch, status: Status) -> list[dict[str, Any]]:
    some = rows.filter(pc.equal(rows["status"], status.value))
    found: list[dict[str, Any]] = some.select(list(FAILED_COLUMNS)).to_pylist()
    return found


def failed_cells(row: Mapping[str, Any]) -> list[str]:
    """A failed member as `failed.csv` has it, in the order of FAILED_COLUMNS."""
    return [cell(row[name]) for name in FAILED_COLUMNS]


def replace_rows(part: pa.Table, rows: Iterable[MemberRow], claim: str = "") -> bytes:
    """A part with some of its rows replaced by newer ones of the same members, as a file."""
    newer = {row.member: _as_dict(row) for row in rows}
    merged = [newer.get(row["member"], row) for row in part.to_pylist()]
    return _encode(merged, claim)


def assemble(
    parts: Iterable[tuple[str, pa.Table]],
    members: int,
    manifest: Any,
    faces: Any,
    failed: IO[str],
    skipped: IO[str],
    people: Joined | None = None,
) -> Counts:
    """Stream the parts, in chunk order, into the four files of a finished batch.

    Args:
        parts: name and rows of each part.
        members: how many members the plan had.
        manifest, faces: paths or binary files to write Parquet to.
        failed, skipped: text files to write CSV to.
        people: whose columns are joined to both tables.

    Raises:
        AccountingError: a member is missing, doubled or out of place.
    """
    totals = Counts()
    sheet, others = csv.writer(failed), csv.writer(skipped)
    sheet.writerow(FAILED_COLUMNS)
    others.writerow(FAILED_COLUMNS)
    joined = pa.schema(people.fields if people else [])
    with (
        LargeGroups(manifest, _with(MANIFEST_SCHEMA, joined)) as rows,
        LargeGroups(faces, _with(FACES_SCHEMA, joined)) as face_rows,
    ):
        for name, part in parts:
            found = part["member"].to_pylist()
            if found != list(range(totals.members, totals.members + part.num_rows)):
                raise AccountingError(
                    f"{name} holds members {found[:1]} to {found[-1:]}, where member "
                    f"{totals.members} was due. Delete it and resume."
                )
            room = max(0, _MOST_SKIPPED - totals.skipped)
            others.writerows(map(failed_cells, _rows_of(part, Status.SKIPPED)[:room]))
            totals.add_part(part)
            cells = pa.Table.from_arrays(people.columns(part) if people else [], schema=joined)
            rows.write(_beside(part.select(MANIFEST_SCHEMA.names), cells))
            face_rows.write(_faces_of(part, cells))
            sheet.writerows(map(failed_cells, failed_rows(part)))
    if people:
        people.finish(totals)
    if totals.skipped > _MOST_SKIPPED:
        more = f"{totals.skipped - _MOST_SKIPPED} more are in manifest.parquet alone"
        others.writerow(["", "", "", more])
    if totals.members != members:
        raise AccountingError(
            f"The plan has {members} members, the parts account for {totals.members}. Run it again."
        )
    return totals


def tables(rows: Sequence[MemberRow]) -> tuple[bytes, bytes]:
    """The manifest and the faces of some members, as two Parquet files, in memory."""
    part = pa.Table.from_pylist([_as_dict(row) for row in rows], schema=PART_SCHEMA)
    made = (io.BytesIO(), io.BytesIO())
    for table, sink in zip(
        (part.select(MANIFEST_SCHEMA.names), _faces_of(part)), made, strict=True
    ):
        pq.write_table(table, sink)
    manifest, faces = made
    return manifest.getvalue(), faces.getvalue()


def failures(manifest: IO[bytes]) -> Iterator[dict[str, Any]]:
    """The `failed_rows` of a finished manifest, read a row group at a time."""
    columns = ["status", *FAILED_COLUMNS]
    for rows in pq.ParquetFile(manifest).iter_batches(columns=columns):
        yield from failed_rows(rows)


def read_duplicates(manifest: IO[bytes], most: int) -> list[tuple[str, str]]:
    """Paths of photographs that come again, and of the first of each, in their order.

    Args:
        manifest: of a finished batch; an older Facecrop's has none.
        most: so many at most.
    """
    table = pq.ParquetFile(manifest)
    if "duplicate_of" not in table.schema_arrow.names:
        return []
    found: list[tuple[str, int]] = []
    for rows in table.iter_batches(columns=["path", "duplicate_of"]):
        again = rows.filter(pc.is_valid(rows["duplicate_of"])).slice(0, most - len(found))
        found += zip(again["path"].to_pylist(), again["duplicate_of"].to_pylist(), strict=True)
    firsts = pa.array({first for _, first in found}, pa.int64())
    paths: dict[int, str] = {}
    for rows in table.iter_batches(columns=["member", "path"]):
        wanted = rows.filter(pc.is_in(rows["member"], firsts))
        paths |= zip(wanted["member"].to_pylist(), wanted["path"].to_pylist(), strict=True)
    return [(path, paths[first]) for path, first in found]


def _with(schema: pa.Schema, others: pa.Schema) -> pa.Schema:
    return pa.schema([*schema, *others])


def _beside(rows: pa.Table, cells: pa.Table) -> pa.Table:
    """Rows with those of another table behind them."""
    columns = [*rows.columns, *cells.columns]
    return pa.Table.from_arrays(columns, schema=_with(rows.schema, cells.schema))


def _faces_of(part: pa.Table, cells: pa.Table | None = None) -> pa.Table:
    """The face rows of a part, each with its member's index and path, and what is joined to it."""
    nested = part["face_rows"].combine_chunks()
    parents = pc.list_parent_indices(nested)
    flat = pa.Table.from_struct_array(nested.flatten())
    owners = part.select(["member", "path"]).take(parents)
    columns = [*owners.columns, *(flat[name] for name in flat.column_names)]
    faces = pa.table(columns, names=FACES_SCHEMA.names).cast(FACES_SCHEMA)
    return _beside(faces, cells.take(parents)) if cells is not None else faces


def _encode(rows: list[dict[str, Any]], claim: str) -> bytes:
    sink = io.BytesIO()
    schema = PART_SCHEMA.with_metadata({_CLAIM: claim}) if claim else PART_SCHEMA
    table = pa.Table.from_pylist(rows, schema=schema)
    pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
    return sink.getvalue()


def _as_dict(row: MemberRow) -> dict[str, Any]:
    values = {name: getattr(row, name) for name in MANIFEST_SCHEMA.names if name != "faces"}
    values["path"] = as_text(row.path)
    values["faces"] = len(row.face_rows)
    values["face_rows"] = [
        {name: getattr(face, name) for name in FaceRow.__slots__} for face in row.face_rows
    ]
    return values

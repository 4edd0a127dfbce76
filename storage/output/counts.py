"""Counts of a batch: of its members by their status, of its faces, of each by code."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from facecrop.errors import Code

if TYPE_CHECKING:
    from storage.output.manifest import MemberRow

_COUNTED = ("status", "error", "faces", "warnings", "not_kept")
_BY_CODE = ("errors", "skips", "warnings", "rejects")
# counts that came later, not by code
_COUNTED_SINCE = ("not_kept", "none_kept", "gone", "changed", "unknown_photos", "missing_people")


class Status(Code):
    """The result for a member. Every member has exactly one."""

    CROPPED = "cropped", "faces were found in it"
    NO_FACE = "no_face", "it was read, and no face was found"
    SKIPPED = "skipped", "it was passed over: `error` says why"
    FAILED = "failed", "it could not be cropped: `error` and `message` say why"


@dataclass(slots=True)
class Counts:
    """Members of a batch, by their status, and the faces in them.

    Attributes:
        members: all that the archive has.
        cropped: members with a face.
        no_face: members without.
        skipped: members that were passed over.
        failed: members that could not be cropped.
        faces: that were found.
        errors: members that failed, by their error's code.
        skips: members that were skipped, by the reason.
        warnings: members that were cropped, or had no face, by each warning of theirs.
        not_kept: faces that were not worth keeping, by the settings.
        none_kept: members with faces of which none was.
        rejects: faces that were not kept, by each reason.
        gone: files of a folder or list that were no longer there when the batch was last extended.
        changed: files that had another size or version then.
        unknown_photos: photographs that no row of the roster is for; known at the end alone.
        missing_people: rows of the roster that no photograph is for.
    """

    members: int = 0
    cropped: int = 0
    no_face: int = 0
    skipped: int = 0
    failed: int = 0
    faces: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    skips: Counter[str] = field(default_factory=Counter)
    warnings: Counter[str] = field(default_factory=Counter)
    not_kept: int = 0
    none_kept: int = 0
    rejects: Counter[str] = field(default_factory=Counter)
    gone: int = 0
    changed: int = 0
    unknown_photos: int = 0
    missing_people: int = 0

    def add(self, row: MemberRow) -> None:
        """Count one more row in."""
        self._count(row.status, row.error, len(row.face_rows), row.warnings, row.not_kept)
        for face in row.face_rows:
            self.rejects.update(face.kept_why or ())

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(getattr(self, name) + getattr(other, name) for name in self.__slots__))

    @classmethod
    def of(cls, counts: Mapping[str, Any]) -> Counts:
        """The inverse of `as_dict`; names that are no count's are passed over.

        An older Facecrop has counted neither skips nor warnings by code, and kept all faces.
        """
        counts = dict.fromkeys(_COUNTED_SINCE, 0) | dict(counts)
        named = {name: counts[name] for name in cls.__slots__ if name not in _BY_CODE}
        return cls(**named | {name: Counter(counts.get(name, {})) for name in _BY_CODE})

    def as_dict(self) -> dict[str, Any]:
        """By name, as JSON has them; those by code with the most frequent first."""
        counts = {name: getattr(self, name) for name in self.__slots__}
        return counts | {name: dict(counts[name].most_common()) for name in _BY_CODE}

    def _count(
        self,
        status: str,
        error: str | None,
        faces: int,
        warnings: Iterable[str] | None,
        not_kept: int | None,
    ) -> None:
        self.members += 1
        setattr(self, status, getattr(self, status) + 1)
        self.faces += faces
        self.not_kept += not_kept or 0
        self.none_kept += faces > 0 and faces == not_kept
        if status == Status.FAILED and error:
            self.errors[error] += 1
        if status == Status.SKIPPED and error:
            self.skips[error] += 1
        self.warnings.update(warnings or ())

    def add_part(self, part: pa.Table | pa.RecordBatch) -> None:
        """Count a table's rows in: of a part, or of the manifest, to which `add_faces` adds."""
        nothing = [None] * part.num_rows
        names = set(part.schema.names)
        columns = (part[name].to_pylist() if name in names else nothing for name in _COUNTED)
        for one in zip(*columns, strict=True):
            self._count(*one)
        if "face_rows" in names:
            self._add_rejects(pc.struct_field(pc.list_flatten(part["face_rows"]), "kept_why"))

    def add_faces(self, faces: pa.RecordBatch) -> None:
        """Count in why faces were not kept, which the manifest does not say."""
        if "kept_why" in faces.schema.names:
            self._add_rejects(faces["kept_why"])

    def _add_rejects(self, why: pa.Array | pa.ChunkedArray) -> None:
        for counted in pc.value_counts(pc.list_flatten(why)):
            self.rejects[counted["values"].as_py()] += counted["counts"].as_py()

    @property
    def images(self) -> int:
        """Members that were taken for images: all but the skipped."""
        return self.members - self.skipped

    @property
    def is_flawless(self) -> bool:
        """Whether nothing failed, and something was an image at all."""
        return self.images > 0 and not self.failed


def count(manifest: IO[bytes], faces: IO[bytes]) -> Counts:
    """Counts of a finished batch by its two tables, read a row group at a time."""
    totals = Counts()
    for rows in pq.ParquetFile(manifest).iter_batches(columns=list(_COUNTED)):
        totals.add_part(rows)
    for rows in pq.ParquetFile(faces).iter_batches(columns=["kept_why"]):
        totals.add_faces(rows)
    return totals

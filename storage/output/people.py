"""A roster joined into the tables of a finished batch, and who is left over on either side."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterable
from typing import IO, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from storage.output.cells import cell
from storage.output.columns import UNMATCHED, names
from storage.output.counts import Counts, Status
from storage.roster import Roster

PREFIX = "roster_"
"""Of the roster's columns in `manifest.parquet` and `faces.parquet`, so that none clashes."""

PHOTO, PERSON = "photograph", "person"
UNMATCHED_COLUMNS = names(UNMATCHED)
_MOST = 100_000  # rows of each kind in `unmatched.csv`


class Joined(Protocol):
    """What is joined to the tables of a batch, part by part.

    Attributes:
        fields: of its columns.
    """

    fields: list[pa.Field]

    def columns(self, part: pa.Table) -> list[pa.ChunkedArray]:
        """The cells for each row of a part."""

    def finish(self, totals: Counts) -> None:
        """Write who is left over, and count them in."""


class KeptPeople:
    """What a roster gave a finished batch, without some members: the roster may be gone by now.

    Args:
        manifest: the batch's.
        before: its counts.
        members: indexes of members of whom nothing is kept.
        old: what its list of those who are left over says.
        unmatched: text file for a new one.
    """

    def __init__(
        self,
        manifest: pq.ParquetFile,
        before: Counts,
        members: Collection[int],
        old: str,
        unmatched: IO[str],
    ) -> None:
        self.fields = [field for field in manifest.schema_arrow if is_joined(field.name)]
        self._cells = manifest.read(columns=[field.name for field in self.fields])
        self._before = before
        self._members = {str(member) for member in members}
        self._old = old
        self._sheet = csv.writer(unmatched)

    def columns(self, part: pa.Table) -> list[pa.ChunkedArray]:
        """See `Joined.columns`."""
        known = pc.not_equal(part["status"], Status.SKIPPED.value)
        cells = self._cells.slice(part["member"][0].as_py(), part.num_rows)
        return [pc.if_else(known, column, None).combine_chunks() for column in cells.columns]

    def finish(self, totals: Counts) -> None:
        """See `Joined.finish`."""
        gone = 0
        for row in csv.reader(io.StringIO(self._old, newline="")):
            if row[:1] == [PHOTO] and row[1] in self._members:
                gone += 1
            else:
                self._sheet.writerow(row)
        totals.unknown_photos = max(0, self._before.unknown_photos - gone)
        totals.missing_people = self._before.missing_people


class People:
    """The roster of a batch, joined part by part in the order of the batch.

    Args:
        roster: the people.
        unmatched: text file that photographs of nobody are written to, and at the end people
            without a photograph, as CSV.
    """

    def __init__(self, roster: Roster, unmatched: IO[str]) -> None:
        self._roster = roster
        self._seen = np.zeros(roster.people.num_rows, np.bool_)
        self._unknown = 0
        self._sheet = csv.writer(unmatched)
        self._sheet.writerow([*UNMATCHED_COLUMNS, *map(cell, roster.columns)])
        self.fields = [pa.field(f"{PREFIX}{name}", pa.string()) for name in roster.columns]

    def columns(self, part: pa.Table) -> list[pa.ChunkedArray]:
        """The cells of the roster for each row of a part, null where it says nothing."""
        rows: list[int | None] = []
        some = (part[name].to_pylist() for name in ("member", "path", "status", "duplicate_of"))
        for member, path, status, first in zip(*some, strict=True):
            is_photo = status != Status.SKIPPED or first is not None
            row = self._roster.find(path) if is_photo else None
            rows.append(row)
            if row is not None:
                self._seen[row] = True
            elif is_photo:
                self._unknown += 1
                if self._unknown <= _MOST:
                    self._sheet.writerow([PHOTO, member, cell(path)])
        cells: list[pa.ChunkedArray] = self._roster.people.take(pa.array(rows, pa.int64())).columns
        return cells

    def finish(self, totals: Counts) -> None:
        """Write the people of whom there is no photograph, and count both kinds."""
        missing = self._roster.people.filter(pa.array(~self._seen))
        if self._unknown > _MOST:
            self._more(PHOTO, self._unknown - _MOST, "roster columns are null in manifest.parquet")
        for row in missing.slice(0, _MOST).to_pylist():
            self._sheet.writerow([PERSON, "", "", *map(cell, row.values())])
        if missing.num_rows > _MOST:
            self._more(PERSON, missing.num_rows - _MOST, "they are in the roster alone")
        totals.unknown_photos, totals.missing_people = self._unknown, missing.num_rows

    def _more(self, what: str, number: int, where: str) -> None:
        self._sheet.writerow([what, "", f"{number} more: {where}"])


def read_unmatched(unmatched: Iterable[str], most: int) -> tuple[list[str], list[list[str]]]:
    """Of `unmatched.csv`, paths of photographs and cells of people, `most` of each."""
    photos: list[str] = []
    people: list[list[str]] = []
    for row in csv.reader(unmatched):
        if row[:1] == [PHOTO] and len(photos) < most:
            photos.append(row[2])
        elif row[:1] == [PERSON] and len(people) < most:
            people.append(row[len(UNMATCHED_COLUMNS) :])
    return photos, people


def is_joined(name: str) -> bool:
    """Whether a column of a table comes from a roster."""
    return name.startswith(PREFIX)

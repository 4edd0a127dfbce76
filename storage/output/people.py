"""A roster joined into the tables of a finished batch, and who is left over on either side."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from typing import IO

import pyarrow as pa

from storage.output.cells import cell
from storage.output.counts import Counts, Status
from storage.roster import Roster

PREFIX = "roster_"
"""Of the roster's columns in `manifest.parquet` and `faces.parquet`, so that none clashes."""

PHOTO, PERSON = "photograph", "person"
UNMATCHED_COLUMNS = ("what", "member", "path")
_MOST = 100_000  # rows of each kind in `unmatched.csv`


class People:
    """The roster of a batch, joined part by part in the order of the batch.

    Args:
        roster: the people.
        unmatched: text file that photographs of nobody are written to, and at the end people
            without a photograph, as CSV.
    """

    def __init__(self, roster: Roster, unmatched: IO[str]) -> None:
        self._roster = roster
        self._seen = bytearray(len(roster.rows))
        self._unknown = 0
        self._sheet = csv.writer(unmatched)
        self._sheet.writerow([*UNMATCHED_COLUMNS, *map(cell, roster.columns)])
        self.fields = [pa.field(f"{PREFIX}{name}", pa.string()) for name in roster.columns]

    def columns(self, part: pa.Table) -> list[pa.Array]:
        """The cells of the roster for each row of a part, null where it says nothing."""
        rows: list[int | None] = []
        some = (part[name].to_pylist() for name in ("member", "path", "status"))
        for member, path, status in zip(*some, strict=True):
            row = None if status == Status.SKIPPED else self._roster.find(path)
            rows.append(row)
            if row is not None:
                self._seen[row] = 1
            elif status != Status.SKIPPED:
                self._unknown += 1
                if self._unknown <= _MOST:
                    self._sheet.writerow([PHOTO, member, cell(path)])
        people = self._roster.rows
        return [
            pa.array([None if row is None else people[row][place] for row in rows], pa.string())
            for place in range(len(self.fields))
        ]

    def finish(self, totals: Counts) -> None:
        """Write the people of whom there is no photograph, and count both kinds."""
        missing = [row for row, seen in zip(self._roster.rows, self._seen, strict=True) if not seen]
        if self._unknown > _MOST:
            self._more(PHOTO, self._unknown - _MOST, "roster columns are null in manifest.parquet")
        for row in missing[:_MOST]:
            self._sheet.writerow([PERSON, "", "", *map(cell, row)])
        if len(missing) > _MOST:
            self._more(PERSON, len(missing) - _MOST, "they are in the roster alone")
        totals.unknown_photos, totals.missing_people = self._unknown, len(missing)

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

"""What became of a batch's files at their source since it took them: `changes.csv`."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from facecrop.errors import Code
from storage.output.cells import cell
from storage.output.columns import CHANGES, names

CHANGE_COLUMNS = names(CHANGES)


class Change(Code):
    """What became of a file."""

    GONE = "gone", "it is no longer there"
    CHANGED = "changed", "it has another size or version under the same name"


@dataclass(frozen=True, slots=True)
class Changed:
    """One of a batch's files that is no longer as the batch took it.

    Attributes:
        member: its index; of an archive that was opened, that of its first member.
        path: as the manifest has it, or of the archive that was opened.
        bytes, bytes_now: its size then and now; None where that is not known.
    """

    member: int
    path: str
    change: Change
    bytes: int | None
    bytes_now: int | None


def encode_changes(changes: Iterable[Changed]) -> bytes:
    """The file, with a byte-order mark, or spreadsheets take UTF-8 for something older."""
    text = io.StringIO(newline="")
    sheet = csv.writer(text)
    sheet.writerow(CHANGE_COLUMNS)
    sheet.writerows([cell(getattr(one, name)) for name in CHANGE_COLUMNS] for one in changes)
    return text.getvalue().encode("utf-8-sig")


def without_members(data: bytes, members: Collection[int]) -> tuple[bytes, int]:
    """The file without some members, and how many rows of it they had."""
    header, *rows = csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""))
    gone = {str(member) for member in members}
    left = [row for row in rows if row[0] not in gone]
    text = io.StringIO(newline="")
    csv.writer(text).writerows([header, *left])
    return text.getvalue().encode("utf-8-sig"), len(rows) - len(left)


def count_changes(data: bytes) -> Counter[str]:
    """How many files are gone, and how many changed, by `Change`."""
    rows = csv.DictReader(io.StringIO(data.decode("utf-8-sig", "replace"), newline=""))
    return Counter(str(row["change"]) for row in rows)

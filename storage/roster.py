"""A roster: a CSV file with a row for each person, whose columns are joined to photographs."""

from __future__ import annotations

import csv
import hashlib
import re
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal

import pyarrow as pa

from storage.errors import StorageError
from storage.fs.location import RangeReader, probe, resolve
from storage.output.names import fold, looks_like_image, split
from storage.output.template import stem, subject

Key = Literal["stem", "path", "subject"]

_MOST_BYTES = 64 << 20
_MOST_COLUMNS = 200
_DELIMITERS = ",;\t"
_LAST_ENCODING = "cp1252"
_AT_ONCE = 10_000  # rows
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+\Z")
_EXCEL_SAYS = "sep="  # a first line of Excel's own, which names the delimiter


class RosterError(StorageError):
    """A roster cannot be used; one line names it, what is wrong and where."""


@dataclass(frozen=True, slots=True)
class Roster:
    """The people of a roster.

    Attributes:
        uri: of the file.
        key: what of a photograph the key column names.
        people: a row each, in order; all columns are text.
        places: the index of a person's row, by the key as it is compared.
        sha256: of the file, in hexadecimal digits.
        notes: what was done with a doubt to read it, a line each.
    """

    uri: str
    key: Key
    people: pa.Table
    places: Mapping[str, int]
    sha256: str
    notes: tuple[str, ...] = ()

    @property
    def columns(self) -> list[str]:
        """Names of its columns, in order."""
        return list(self.people.column_names)

    @property
    def key_column(self) -> str:
        """The column that the key stands in."""
        return self.columns[_key_place(self.columns, self.key)]

    def find(self, path: str) -> int | None:
        """The row that a photograph belongs to, by its path in the archive; None for nobody's."""
        return self.places.get(_compared(path, self.key))

    def cells(self, path: str) -> dict[str, str] | None:
        """That row by column; None where there is none."""
        found = self.find(path)
        return None if found is None else dict(self.people.slice(found, 1).to_pylist()[0])


def read_roster(uri: str, key: Key, sha256: str = "", redirects: str = "no") -> Roster:
    """Read a roster: UTF-8, UTF-16 or Windows-1252; with commas, semicolons or tabs.

    Args:
        uri: of the file, or its path.
        key: what the key column names of a photograph. The column is the one that is called so,
            else the first.
        sha256: that the file must have; "" for any.
        redirects: where web servers may redirect to, see `storage.fs.web.client`.

    Raises:
        RosterError: it is no such file, or another than is expected.
        ArchiveError: it is absent or forbidden. TransientError: storage did not answer.
    """
    location = resolve(uri, redirects)
    found = probe(location)
    if found is None:
        raise RosterError(f"the roster {location.uri} is a folder: name a CSV file")
    if found.size > _MOST_BYTES:
        raise RosterError(
            f"the roster {location.uri} has {found.size:,} bytes, where {_MOST_BYTES:,} are the "
            "most: leave out what is not needed"
        )
    data = RangeReader(location, found).read(0, found.size) if found.size else b""
    digest = hashlib.sha256(data).hexdigest()
    if sha256 and digest != sha256:
        raise RosterError(
            f"the roster {location.uri} is not the one that the batch was begun with: put that "
            "one back, or name another output"
        )
    text, encoding = _decoded(location.uri, data)
    notes = []
    if encoding == _LAST_ENCODING:
        notes.append(
            f"the roster {location.uri} is not in UTF-8 and was read as Windows-1252: look whether "
            "its accents are right, or save it as CSV UTF-8"
        )
    people, lines = _table(location.uri, text)
    places = _places(location.uri, people, lines, key)
    return Roster(location.uri, key, people, places, digest, tuple(notes))


def _decoded(uri: str, data: bytes) -> tuple[str, str]:
    """The text of a file, and its encoding."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        encodings = ["utf-16"]
    elif b"\0" in data[:4096]:  # as some programs save it, without a mark
        encodings = ["utf-16-be" if data[:1] == b"\0" else "utf-16-le"]
    else:
        encodings = ["utf-8-sig", _LAST_ENCODING]
    for encoding in encodings:
        try:
            return data.decode(encoding), encoding
        except UnicodeDecodeError:
            continue
    raise RosterError(
        f"the roster {uri} is in no encoding that is known: save it as CSV UTF-8 (Excel: Save as)"
    )


def _table(uri: str, text: str) -> tuple[pa.Table, array[int]]:
    """The people, and the number of the last line of each."""
    said, _, rest = text.partition("\n")
    if said.strip().strip('"').lower()[: len(_EXCEL_SAYS)] == _EXCEL_SAYS:
        delimiter = said.strip().strip('"')[len(_EXCEL_SAYS) :] or ","
        if delimiter not in _DELIMITERS:
            raise RosterError(
                f"the roster {uri} has {delimiter!r} between its cells: a comma, a semicolon or a "
                "tab is read"
            )
        text, skipped = rest, 1
    else:
        widths = {one: len(next(_records(uri, text, one, 0), (0, []))[1]) for one in _DELIMITERS}
        delimiter, skipped = max(_DELIMITERS, key=lambda one: widths[one]), 0
    records = _records(uri, text, delimiter, skipped)
    columns = _header(uri, next(records, (0, []))[1])
    pieces: list[pa.Table] = []
    lines = array("q")
    while some := list(islice(records, _AT_ONCE)):
        pieces.append(_piece(uri, columns, some))
        lines.extend(line for line, _ in some)
    if not pieces:
        raise RosterError(f"the roster {uri} has no people: a line with the columns comes first")
    return pa.concat_tables(pieces).combine_chunks(), lines


def _piece(uri: str, columns: list[str], records: list[tuple[int, list[str]]]) -> pa.Table:
    """Some people as a table: as Python's own values they would take ten times as much memory."""
    rows = []
    for line, cells in records:
        if any(cells[len(columns) :]):
            raise RosterError(
                f"the roster {uri} has {len(cells)} cells in line {line}, and {len(columns)} "
                "columns: put a cell with a delimiter in it in quotes"
            )
        rows.append([*cells, *[""] * len(columns)][: len(columns)])
    arrays = [pa.array(cells, pa.string()) for cells in zip(*rows, strict=True)]
    return pa.Table.from_arrays(arrays, names=columns)


def _records(uri: str, text: str, delimiter: str, skipped: int) -> Iterator[tuple[int, list[str]]]:
    """The records that are not blank, trimmed, each with the number of its last line."""
    lines = (found[0] for found in _LINE.finditer(text))  # StringIO takes four bytes a letter
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    try:
        for cells in reader:
            trimmed = [one.strip().removeprefix("\ufeff") for one in cells]
            if any(trimmed):
                yield reader.line_num + skipped, trimmed
    except csv.Error as error:
        line = reader.line_num + skipped
        raise RosterError(
            f"the roster {uri} cannot be read at line {line} ({error}): look at the quotes there"
        ) from error


def _header(uri: str, cells: list[str]) -> list[str]:
    while cells and not cells[-1]:  # as a sheet with columns that were emptied has them
        cells = cells[:-1]
    if len(cells) > _MOST_COLUMNS:
        raise RosterError(f"the roster {uri} has more than {_MOST_COLUMNS} columns: leave some out")
    if "" in cells:
        raise RosterError(
            f"the roster {uri} has a column without a name, number {cells.index('') + 1}: name it"
        )
    seen: dict[str, str] = {}
    for name in cells:
        if fold(name) in seen:
            raise RosterError(f"the roster {uri} has two columns {name!r}: rename one of them")
        seen[fold(name)] = name
    return cells


def _places(uri: str, people: pa.Table, lines: array[int], key: Key) -> dict[str, int]:
    """The index of each row that has a key, by that; a row without one is nobody's."""
    column = _key_place(people.column_names, key)
    name = people.column_names[column]
    places: dict[str, int] = {}
    for index, scalar in enumerate(people[column]):
        cell = scalar.as_py()
        if not cell:
            continue
        told = _of_cell(cell, key)
        if told in places:
            raise RosterError(
                f"the roster {uri} has {cell!r} twice in its column {name!r}, in lines "
                f"{lines[places[told]]} and {lines[index]}: which of the two is meant cannot be "
                "told"
            )
        places[told] = index
    if not places:
        raise RosterError(f"the roster {uri} has no key: its column {name!r} is empty")
    return places


def _key_place(columns: Sequence[str], key: Key) -> int:
    return next((place for place, name in enumerate(columns) if fold(name) == key), 0)


def _compared(path: str, key: Key) -> str:
    """What of a path is compared with the keys."""
    if key == "path":
        steps, file = split(path)
        return fold("/".join([*(one for one in steps if one not in ("", ".")), file]))
    return fold((stem(path) if key == "stem" else subject(path)).strip())


def _of_cell(cell: str, key: Key) -> str:
    """A key as it is compared: a stem may be written with its extension, a folder with its path."""
    if key == "stem":
        return fold(stem(cell) if looks_like_image(cell) else cell)
    return _compared(cell, key) if key == "path" else fold(cell.strip("/\\"))

"""Rosters as schools and spreadsheets write them, and what is wrong with one in a line."""

import hashlib
from pathlib import Path

import pytest

from storage.errors import ArchiveError
from storage.roster import Key, Roster, RosterError, read_roster

PLAIN = "stem,last,first\nIMG_1,Müller,Ann\nimg_2.JPG,Núñez,Ben\n"
WANTED = {"stem": "IMG_1", "last": "Müller", "first": "Ann"}


def written(place: Path, data: str | bytes) -> str:
    file = place / "people.csv"
    file.write_bytes(data if isinstance(data, bytes) else data.encode())
    return str(file)


def read(place: Path, data: str | bytes, key: Key = "stem") -> Roster:
    return read_roster(written(place, data), key)


@pytest.mark.parametrize(
    ("data", "notes"),
    [
        (PLAIN.encode(), 0),
        (PLAIN.encode("utf-8-sig"), 0),
        (PLAIN.encode("utf-16"), 0),
        (PLAIN.encode("utf-16-le"), 0),
        (PLAIN.encode("utf-16-be"), 0),
        (PLAIN.encode("cp1252"), 1),
        (PLAIN.replace(",", ";").encode("cp1252"), 1),
        (PLAIN.replace(",", "\t").encode("utf-16"), 0),  # Excel's "Unicode text"
        (b"sep=;\r\n" + PLAIN.replace(",", ";").replace("\n", "\r\n").encode(), 0),
        (PLAIN.replace("\n", "\r").encode(), 0),
        (PLAIN.replace("stem,last,first", " Stem , last,first,,").encode(), 0),
        (PLAIN.replace("\n", "\n,,\n\n").encode(), 0),
    ],
)
def test_however_it_was_saved(tmp_path: Path, data: bytes, notes: int) -> None:
    roster = read(tmp_path, data)
    assert {
        name.lower(): cell for name, cell in (roster.cells("a/IMG_1.jpg") or {}).items()
    } == WANTED
    assert roster.find("img_2.png") == 1
    assert roster.find("IMG_3.jpg") is None
    assert len(roster.notes) == notes
    assert all("Windows-1252" in line for line in roster.notes)
    assert roster.sha256 == hashlib.sha256(data).hexdigest()


def test_cells_may_have_line_breaks_delimiters_and_quotes(tmp_path: Path) -> None:
    roster = read(tmp_path, 'name;stem\n"Ann ""A"" \nMüller; junior";IMG_1\nBen;\n')
    assert roster.cells("IMG_1.jpg") == {"name": 'Ann "A" \nMüller; junior', "stem": "IMG_1"}
    assert roster.people.num_rows == 2  # one without a key is in it, and nobody's


@pytest.mark.parametrize(
    ("key", "cell", "path"),
    [
        ("stem", "Müller", "3b/Mu\u0308ller.JPG"),
        ("stem", "STRASSE", "straße.png"),
        ("stem", "a.b", "a.b.jpg"),
        ("path", "3b\\Ann.JPG", "./3b/ann.jpg"),
        ("subject", "4711", "2024/4711/IMG_9.jpg"),
        ("subject", "4711/", "4711/IMG_9.jpg"),
    ],
)
def test_keys_are_compared_as_names_are(tmp_path: Path, key: Key, cell: str, path: str) -> None:
    roster = read(tmp_path, f"name,{key}\nAnn,{cell}\n", key)
    assert roster.cells(path) == {"name": "Ann", key: cell}
    assert roster.key_column == key
    first = read(tmp_path, f"id,name\n{cell},Ann\n", key)
    assert first.cells(path) == {"id": cell, "name": "Ann"}


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("stem,a\nx,1\n\ny,2\nX,3\n", "'X' twice in its column 'stem', in lines 2 and 5"),
        ("stem,a\nx,1,2\n", "3 cells in line 2, and 2 columns"),
        ('stem,a\nx,"1\n', "cannot be read at line"),
        ("stem,a,A\nx,1,2\n", "two columns 'A'"),
        ("stem,,a\nx,1,2\n", "a column without a name, number 2"),
        ("stem,a\n", "no people"),
        ("", "no people"),
        ("stem,a\n,1\n", "its column 'stem' is empty"),
        (b"stem,a\nx,\x81\n", "save it as CSV UTF-8"),
        ("sep=|\nstem|a\n", "a comma, a semicolon or a tab"),
        (",".join(map(str, range(300))) + "\n1\n", "more than 200 columns"),
    ],
)
def test_what_is_wrong_is_one_line_that_names_the_file(
    tmp_path: Path, data: str | bytes, said: str
) -> None:
    with pytest.raises(RosterError) as caught:
        read(tmp_path, data)
    line = str(caught.value)
    assert said in line
    assert "\n" not in line
    assert str(tmp_path / "people.csv") in line


def test_another_file_than_a_batch_was_begun_with(tmp_path: Path) -> None:
    file = written(tmp_path, PLAIN)
    known = read_roster(file, "stem").sha256
    assert read_roster(file, "stem", known).sha256 == known
    written(tmp_path, PLAIN + "IMG_3,Doe,Eve\n")
    with pytest.raises(RosterError, match="not the one that the batch was begun with"):
        read_roster(file, "stem", known)
    with pytest.raises(ArchiveError, match=r"missing\.csv"):
        read_roster(f"{tmp_path}/missing.csv", "stem")
    with pytest.raises(RosterError, match="is a folder"):
        read_roster(str(tmp_path), "stem")

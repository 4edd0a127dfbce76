import csv
import io
import re
import sys
import unicodedata
from collections import Counter
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.output.counts import Counts, Status, count
from storage.output.manifest import (
    FACES_SCHEMA,
    FAILED_COLUMNS,
    MANIFEST_SCHEMA,
    AccountingError,
    FaceRow,
    MemberRow,
    assemble,
    decode_part,
    encode_part,
    failed_cells,
)


def face(rank: int, path: str = "a.jpg") -> FaceRow:
    points = [float(n) for n in range(10)]
    crop = f"crops/{path}_{rank}.jpg"
    return FaceRow(rank, 0, 1.5, 2.5, 30.25, 40.5, 0.875, points, -3, 4, 57, 0.25, 120.5, crop)


def cropped(member: int, faces: int = 1) -> MemberRow:
    rows = [face(rank, f"{member}.jpg") for rank in range(faces)]
    return MemberRow(
        member, f"{member}.jpg", Status.CROPPED, 1000, width=640, height=480, face_rows=rows
    )


def failed(member: int, path: str = "bad.jpg") -> MemberRow:
    return MemberRow(
        member, path, Status.FAILED, 7, error="corrupt_image", message="It is damaged."
    )


def skipped(member: int) -> MemberRow:
    return MemberRow(member, "notes.txt", Status.SKIPPED, 7, error="not_an_image")


def part(number: int, *rows: MemberRow) -> tuple[str, pa.Table]:
    name = f"part {number}"
    return name, decode_part(name, encode_part(rows))


class Finished:
    """The three files of a batch, assembled from parts."""

    def __init__(self, *parts: tuple[str, pa.Table], members: int) -> None:
        with TemporaryDirectory() as folder:
            manifest, faces = Path(folder, "m"), Path(folder, "f")
            failures, skips = io.StringIO(), io.StringIO()
            self.totals = assemble(parts, members, manifest, faces, failures, skips)
            self.manifest = pq.read_table(manifest)
            self.faces = pq.read_table(faces)
            self.failures = failures.getvalue().splitlines()
            self.skips = skips.getvalue().splitlines()
            with manifest.open("rb") as file, faces.open("rb") as face_file:
                self.count = count(file, face_file)


def test_every_row_of_every_part_is_in_the_tables_once() -> None:
    batch = Finished(
        part(0, cropped(0, faces=2), skipped(1)), part(1, failed(2), cropped(3)), members=4
    )
    assert batch.manifest.schema.equals(MANIFEST_SCHEMA)
    assert batch.faces.schema.equals(FACES_SCHEMA)
    assert batch.manifest["member"].to_pylist() == [0, 1, 2, 3]
    assert batch.manifest["status"].to_pylist() == ["cropped", "skipped", "failed", "cropped"]
    assert batch.manifest["faces"].to_pylist() == [2, 0, 0, 1]
    assert batch.faces["member"].to_pylist() == [0, 0, 3]
    assert batch.faces["path"].to_pylist() == ["0.jpg", "0.jpg", "3.jpg"]
    assert batch.faces["rank"].to_pylist() == [0, 1, 0]
    first = batch.faces.to_pylist()[0]
    assert (first["x"], first["h"], first["score"], first["crop_x"]) == (1.5, 40.5, 0.875, -3)
    assert first["landmarks"] == [float(n) for n in range(10)]
    assert first["crop"] == "crops/0.jpg_0.jpg"


def test_totals_say_what_the_manifest_says() -> None:
    batch = Finished(part(0, cropped(0, faces=2), skipped(1), failed(2)), members=3)
    assert batch.totals == batch.count
    by_code = (Counter({code: 1}) for code in ("corrupt_image", "not_an_image"))
    errors, skips = by_code
    assert batch.totals == Counts(3, 1, 0, 1, 1, 2, errors, skips)
    assert batch.totals.images == 2


def test_doubts_are_counted_by_code() -> None:
    rows = [cropped(0), cropped(1), MemberRow(2, "c.jpg", Status.NO_FACE, 9)]
    rows[0].warnings.extend(["bits_guessed", "first_page_of_n"])
    rows[2].warnings.append("bits_guessed")
    batch = Finished(part(0, *rows), members=3)
    assert batch.manifest["warnings"].to_pylist() == [rows[0].warnings, [], ["bits_guessed"]]
    assert batch.totals == batch.count
    assert batch.totals.warnings == {"bits_guessed": 2, "first_page_of_n": 1}
    assert Counts.of(batch.totals.as_dict()) == batch.totals


def test_faces_that_are_not_kept_are_counted_by_reason() -> None:
    rows = [cropped(0, faces=3), cropped(1, faces=2), cropped(2), cropped(3)]
    why: tuple[list[list[str]], ...] = (
        [["low_sharpness"], [], ["low_sharpness", "high_yaw"]],
        [["high_yaw"], ["high_yaw"]],
        [[]],
        [],  # an older Facecrop's
    )
    for row, reasons in zip(rows, why, strict=True):
        for place, face_why in enumerate(reasons):
            face = replace(row.face_rows[place], kept=not face_why, kept_why=face_why)
            row.face_rows[place] = face
    batch = Finished(part(0, *rows[:2]), part(1, *rows[2:]), members=4)
    assert (batch.totals.not_kept, batch.totals.none_kept) == (4, 1)
    assert batch.totals.rejects == {"low_sharpness": 2, "high_yaw": 3}
    assert batch.totals == batch.count == Counts.of(batch.totals.as_dict())
    assert batch.manifest["not_kept"].to_pylist() == [2, 2, 0, 0]
    one_by_one = Counts()
    for row in rows:
        one_by_one.add(row)
    assert one_by_one == batch.totals
    assert (one_by_one + one_by_one).rejects == {"low_sharpness": 4, "high_yaw": 6}


def test_counts_of_an_older_version_kept_all_faces() -> None:
    older = Finished(part(0, cropped(0)), members=1).totals.as_dict()
    for name in ("not_kept", "none_kept", "rejects"):
        del older[name]
    assert Counts.of(older) == Counts(1, 1, 0, 0, 0, 1)


def test_a_part_whose_faces_have_less_is_read() -> None:
    rows = pq.read_table(pa.BufferReader(encode_part([cropped(0, faces=2)])))
    faces = [[dict(face) for face in row or ()] for row in rows["face_rows"].to_pylist()]
    later = ("pick_score", "sharpness_scale", "yaw", "pitch", "brightness", "contrast", "kept")
    for face_row in faces[0]:
        for name in (*later, "kept_why"):
            del face_row[name]
    sink = pa.BufferOutputStream()
    older = rows.drop_columns(["face_rows", "not_kept"])
    pq.write_table(older.append_column("face_rows", pa.array(faces)), sink)
    found = decode_part("part", sink.getvalue().to_pybytes())
    assert found.schema.equals(rows.schema, check_metadata=False)
    [[face, _]] = found["face_rows"].to_pylist()
    assert {face[name] for name in later} == {None}
    totals = Counts()
    totals.add_part(found)
    assert (totals.faces, totals.not_kept, totals.none_kept, totals.rejects) == (2, 0, 0, {})


def test_a_part_of_an_older_version_counts_as_it_is() -> None:
    rows = pq.read_table(pa.BufferReader(encode_part([cropped(0, faces=2), failed(1)])))
    faces = [[dict(face) for face in row or ()] for row in rows["face_rows"].to_pylist()]
    for face_row in faces[0]:
        del face_row["outside"]
    older = rows.drop_columns(["pages", "warnings", "face_rows"])
    sink = pa.BufferOutputStream()
    pq.write_table(older.append_column("face_rows", pa.array(faces)), sink)
    found = decode_part("part", sink.getvalue().to_pybytes())
    assert found.schema.equals(rows.schema, check_metadata=False)
    assert found["warnings"].to_pylist() == found["pages"].to_pylist() == [None, None]
    assert [face["outside"] for face in found["face_rows"].to_pylist()[0]] == [None, None]
    totals = Counts()
    totals.add_part(older)
    assert (totals.cropped, totals.failed, totals.warnings) == (1, 1, {})


def test_a_part_without_the_geometry_of_crops_counts_as_it_is() -> None:
    """As the version before had them: all columns of members, and fewer of faces."""
    rows = pq.read_table(pa.BufferReader(encode_part([cropped(0, faces=2), failed(1)])))
    faces = [[dict(face) for face in row or ()] for row in rows["face_rows"].to_pylist()]
    for face_row in faces[0]:
        for name in ("crop_w", "crop_h", "crop_scale", "matrix", "head_height", "eye_line"):
            del face_row[name]
    older = rows.drop_columns(["face_rows"])
    sink = pa.BufferOutputStream()
    pq.write_table(older.append_column("face_rows", pa.array(faces)), sink)
    found = decode_part("part", sink.getvalue().to_pybytes())
    assert found.schema.equals(rows.schema, check_metadata=False)
    assert [face["matrix"] for face in found["face_rows"].to_pylist()[0]] == [None, None]


def test_a_part_of_before_photographs_were_written_keeps_what_it_has() -> None:
    row = MemberRow(0, "a.tif", Status.NO_FACE, 9, pages=3, warnings=["first_page_of_n"])
    rows = pq.read_table(pa.BufferReader(encode_part([row])))
    sink = pa.BufferOutputStream()
    pq.write_table(rows.drop_columns(["file"]), sink)
    [found] = decode_part("part", sink.getvalue().to_pybytes()).to_pylist()
    assert (found["pages"], found["warnings"], found["file"]) == (3, ["first_page_of_n"], None)


def test_a_batch_without_a_face_has_an_empty_table_of_faces() -> None:
    batch = Finished(part(0, skipped(0)), members=1)
    assert batch.faces.num_rows == 0
    assert batch.faces.schema.equals(FACES_SCHEMA)


@pytest.mark.parametrize(
    ("parts", "members"),
    [
        ([part(0, cropped(0)), part(1, cropped(2))], 3),
        ([part(0, cropped(0)), part(1, cropped(0))], 2),
        ([part(0, cropped(0)), part(1, cropped(1), cropped(1))], 3),
        ([part(0, cropped(1), cropped(0))], 2),
        ([part(0, cropped(0))], 2),
        ([part(0, cropped(0), cropped(1))], 1),
    ],
    ids=["gap", "twice", "twice in a part", "out of order", "too few", "too many"],
)
def test_an_account_that_does_not_add_up_is_refused(
    parts: list[tuple[str, pa.Table]], members: int
) -> None:
    with pytest.raises(AccountingError):
        Finished(*parts, members=members)


def test_a_damaged_part_is_named() -> None:
    data = encode_part([failed(member, f"{member}.jpg") for member in range(64)])
    for damaged in (b"PAR1 no more", data[:-9]):
        with pytest.raises(AccountingError, match=r"part 0 is damaged\. Delete it"):
            decode_part("part 0", damaged)


def test_a_flipped_bit_is_seen_or_changes_nothing() -> None:
    data = encode_part([failed(member, f"{member}.jpg") for member in range(64)])
    rows = decode_part("part 0", data).to_pylist()
    pages = len(data) - 8 - int.from_bytes(data[-8:-4], "little")  # behind them is the footer
    seen = 0
    positions = range(0, pages, 41)
    for at in positions:
        flipped = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        try:
            read = decode_part("part 0", flipped)
        except AccountingError:
            seen += 1
        else:  # a page's header may hold what nobody reads, such as its lowest value
            assert read.to_pylist() == rows
    assert seen > len(positions) * 3 / 4


def test_failures_are_listed_and_cannot_run_as_formulas() -> None:
    rows = [
        failed(0, '=HYPERLINK("http://x")'),
        failed(1, "+1"),
        failed(2, 'a,"b\n.jpg'),
        cropped(3),
    ]
    batch = Finished(part(0, *rows), members=4)
    assert batch.failures[0] == "member,path,error,message"
    assert batch.failures[1].startswith("""0,"'=HYPERLINK(""")
    assert batch.failures[2].startswith("1,'+1,corrupt_image,")
    assert len(batch.failures) == 1 + 2 + 2  # the third name has a line end in it


def test_a_terminal_that_shows_the_failures_is_told_nothing() -> None:
    name = "\x1b]0;title\x07\x1b[2J\x9b2J\rfake.jpg\x7f"
    cells = failed_cells({"member": 0, "path": name, "error": "code", "message": name})
    assert cells[1] == cells[3] == r"\x1b]0;title\x07\x1b[2J\x9b2J\x0dfake.jpg\x7f"


UNSEEN = [
    *("", " ", ";", "\t", "\n", "\r", "\r\n", "\v", "\f", "\x00", "\x07", "\x1e", "\x7f", "\x85"),
    *("\xa0", "\xad", "\u200b", "\u200d", "\u200e", "\u2003", "\u2028", "\u202e", "\u2060"),
    *("\u3000", "\u3164", "\ufeff", "\ufe0f", '"', "|", " ; ", "\ufeff\xa0\t", "; \u200b"),
]


def split_by_others(line: str) -> list[str]:
    """The cells of programs that split at semicolons, tabs, bars and line ends, without quotes."""
    return re.split(r"[;|\t\n\v\f\r\x1c-\x1e\x85\u2028\u2029]", line)


def runs(cell: str) -> bool:
    """Whether a spreadsheet may take a cell for a formula."""
    plain = unicodedata.normalize("NFKC", cell)
    seen = [sign for sign in plain if unicodedata.category(sign)[0] not in "CZM" and sign != '"']
    return "".join(seen).lstrip("\u3164\u1160").startswith(("=", "+", "-", "@"))


@pytest.mark.parametrize("before", UNSEEN)
@pytest.mark.parametrize(
    "sign", ["=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20", "\u2212"]
)
def test_nothing_unseen_leads_to_a_formula(before: str, sign: str) -> None:
    row = {
        "member": 0,
        "path": f"{before}{sign}1+1.jpg",
        "error": f"a{before}{sign}1",
        "message": "",
    }
    member, path, error, _ = failed_cells(row)
    assert member == "0"
    assert path.startswith("'")
    for cell in (path, error):
        assert not [piece for piece in split_by_others(cell) if runs(piece)]


def test_every_sign_that_reads_as_one_of_a_formula_is_known() -> None:
    for sign in map(chr, range(sys.maxunicode + 1)):
        if "\ud800" <= sign <= "\udfff" or not runs(sign):
            continue
        assert failed_cells(dict.fromkeys(FAILED_COLUMNS, f"{sign}1"))[0] == f"'{sign}1", hex(
            ord(sign)
        )


@given(st.text(st.sampled_from([*"a=-+@;|\t\n\r\"',. ", "\uff1d", "\u200b", "\xa0"]), max_size=12))
def test_no_cell_of_any_spreadsheet_is_a_formula(path: str) -> None:
    file = io.StringIO()
    cells = failed_cells({"member": 0, "path": path, "error": "code", "message": path})
    csv.writer(file).writerow(cells)
    assert not [piece for piece in split_by_others(file.getvalue()) if runs(piece)]
    assert next(csv.reader(io.StringIO(file.getvalue(), newline=""))) == cells


@pytest.mark.parametrize(
    "name", ["a.jpg", "day 1/a-b+c=d@e.jpg", "a; b.jpg", "'=1.jpg", "é\u200b.jpg", "a,-b.jpg", ".x"]
)
def test_a_plain_name_stays_as_it_is(name: str) -> None:
    assert failed_cells(dict.fromkeys(FAILED_COLUMNS, name)) == [name] * 4


def test_a_name_that_was_never_text_stands_escaped() -> None:
    batch = Finished(
        part(0, failed(0, b"caf\xe9.jpg".decode("utf-8", "surrogateescape"))), members=1
    )
    assert batch.manifest["path"].to_pylist() == ["caf\\udce9.jpg"]


def test_a_part_is_the_same_bytes_each_time() -> None:
    rows = [cropped(0, faces=3), failed(1)]
    assert encode_part(rows) == encode_part(rows)


def test_what_was_skipped_is_listed_as_failures_are(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        skipped(0),
        MemberRow(1, "=cmd|' /C calc'!A0.zip", Status.SKIPPED, 7, error="nested_archive"),
        failed(2),
        skipped(3),
    ]
    batch = Finished(part(0, *rows), members=4)
    assert batch.skips == [
        "member,path,error,message",
        "0,notes.txt,not_an_image,",
        "1,'=cmd|' /C calc'!A0.zip,nested_archive,",
        "3,notes.txt,not_an_image,",
    ]
    monkeypatch.setattr("storage.output.manifest._MOST_SKIPPED", 2)
    batch = Finished(part(0, *rows), part(1, skipped(4)), members=5)
    assert batch.skips[3:] == [",,,2 more are in manifest.parquet alone"]
    assert batch.totals.skipped == 4

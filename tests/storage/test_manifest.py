import io
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from storage.manifest import (
    FACES_SCHEMA,
    MANIFEST_SCHEMA,
    AccountingError,
    FaceRow,
    MemberRow,
    Status,
    Totals,
    assemble,
    count,
    decode_part,
    encode_part,
)


def face(rank: int, path: str = "a.jpg") -> FaceRow:
    points = [float(n) for n in range(10)]
    crop = f"crops/{path}_{rank}.jpg"
    return FaceRow(rank, 1.5, 2.5, 30.25, 40.5, 0.875, points, -3, 4, 57, 120.5, crop)


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
            manifest, faces, failures = Path(folder, "m"), Path(folder, "f"), io.StringIO()
            self.totals = assemble(parts, members, manifest, faces, failures)
            self.manifest = pq.read_table(manifest)
            self.faces = pq.read_table(faces)
            self.failures = failures.getvalue().splitlines()
            with manifest.open("rb") as file:
                self.count = count(file)


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
    assert batch.totals == Totals(
        3, cropped=1, skipped=1, failed=1, faces=2, errors=batch.count.errors
    )
    assert batch.totals.errors == {"corrupt_image": 1}
    assert batch.totals.images == 2


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
    middle = len(data) // 2
    flipped = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
    for damaged in (b"PAR1 no more", data[:-9], flipped):
        with pytest.raises(AccountingError, match=r"part 0 is damaged\. Delete it"):
            decode_part("part 0", damaged)


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


def test_a_name_that_was_never_text_stands_escaped() -> None:
    batch = Finished(
        part(0, failed(0, b"caf\xe9.jpg".decode("utf-8", "surrogateescape"))), members=1
    )
    assert batch.manifest["path"].to_pylist() == ["caf\\udce9.jpg"]


def test_a_part_is_the_same_bytes_each_time() -> None:
    rows = [cropped(0, faces=3), failed(1)]
    assert encode_part(rows) == encode_part(rows)

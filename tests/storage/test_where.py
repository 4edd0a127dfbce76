"""Which faces an expression wants, and what is none."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.output.counts import Status
from storage.output.manifest import FaceRow, MemberRow, decode_part, encode_part, member_rows
from storage.output.wanted import wanted_faces
from storage.output.where import COLUMNS, WhereError, parse_where

FACE = FaceRow(0, 0, 1, 2, 40, 30, 0.875, None, 0, 0, 50, 0, 0.5, "crops/a_0.jpg", kept=True)


def face(rank: int, **fields: object) -> FaceRow:
    return replace(FACE, rank=rank, **fields)  # type: ignore[arg-type]


def rows() -> list[MemberRow]:
    first = [face(0, yaw=10.0, sharpness=0.75), face(1, yaw=-30.0, sharpness=0.25)]
    second = [face(0, yaw=None, sharpness=0.75, score=None, kept=False)]
    return [
        MemberRow(0, "class-3a/Anna O'Hara.jpg", Status.CROPPED, 10, width=640, face_rows=first),
        MemberRow(1, "notes.txt", Status.SKIPPED, 10, error="not_an_image"),
        MemberRow(2, "class-3b/b.jpg", Status.CROPPED, 10, width=6000, face_rows=second),
    ]


@pytest.fixture(scope="module")
def part() -> pa.Table:
    return decode_part("a part", encode_part(rows()))


@pytest.mark.parametrize(
    ("where", "wanted"),
    [
        ("sharpness > 0.5", {(0, 0), (2, 0)}),
        ("SHARPNESS>.5 AND abs(yaw) < 20", {(0, 0)}),
        # what is null is neither small nor large
        ("abs(yaw) >= 20", {(0, 1)}),
        ("not abs(yaw) >= 20", {(0, 0)}),
        ("not (yaw < 20 or yaw >= 20)", set()),
        ("yaw is null", {(2, 0)}),
        ("yaw is not null", {(0, 0), (0, 1)}),
        ("not yaw in (10, -30)", set()),
        ("yaw not in (10)", {(0, 1)}),
        ("yaw in (10, 20.5)", {(0, 0)}),
        ("path = 'class-3a/Anna O''Hara.jpg'", {(0, 0), (0, 1)}),
        ("path like 'class-3_/b%'", {(2, 0)}),
        ("path not like '%/b.jpg' and rank = 0", {(0, 0)}),
        ("kept", {(0, 0), (0, 1)}),
        ("not kept or kept = false", {(2, 0)}),
        ("width > 640 or sharpness < 0.5 and rank <> 0", {(0, 1), (2, 0)}),
        ("(width > 640 or sharpness < 0.5) and rank != 0", {(0, 1)}),
        ("w > h", {(0, 0), (0, 1), (2, 0)}),
        ("yaw <= -3e1", {(0, 1)}),
        ("status == 'cropped' and member in (2)", {(2, 0)}),
        ("faces > 1", {(0, 0), (0, 1)}),
    ],
)
def test_the_faces_that_are_wanted(part: pa.Table, where: str, wanted: set[object]) -> None:
    assert wanted_faces(part, parse_where(where)) == wanted


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("sharpnes > 1", "there is no column sharpnes; there are attempts, "),
        ("landmarks is null", "there is no column landmarks"),
        ("sharpness > 'much'", "sharpness is a number, and 'much' is a text"),
        ("kept > 1", "kept is yes or no, and 1 is a number"),
        ("abs(path) > 1", "abs takes a number, and path is a text"),
        ("path like 3", "3 stands where a text in quotes after like should be"),
        ("sharpness", "the end stands where a comparison of sharpness should be"),
        ("sharpness > 1 yaw", "yaw stands where and, or, or the end should be"),
        ("(sharpness > 1", r"the end stands where \) should be"),
        ("path = 'a", "a text has no ' at its end"),
        ('path = "a"', "'\"' means nothing here; texts stand in 'quotes'"),
        ("__import__('os')", "there is no column __import__"),
        ("sharpness.__class__ = 1", "'.' means nothing here"),
        ("1; drop table faces", "';' means nothing here"),
        ("yaw in (pitch)", "pitch stands where a number or a text in quotes should be"),
        ("yaw in ()", r"\) stands where a column should be"),
        ("and", "and stands where a column should be"),
        ("bytes > 99999999999999999999", "is more than a column holds"),
        ("not " * 60 + "kept", "at most 50 parentheses within each other"),
        ("(" * 60, "at most 50 parentheses within each other"),
        ("kept and " * 500 + "kept", "at most 4096 characters"),
    ],
)
def test_what_is_no_expression_is_told_in_a_line(where: str, said: str) -> None:
    with pytest.raises(WhereError, match=f"^where: .*{said}") as caught:
        parse_where(where)
    assert "\n" not in str(caught.value)


WORDS = [*sorted(COLUMNS)[:6], "and", "or", "not", "in", "is", "null", "like", "abs", "(", ")", ","]
WORDS += ["=", "<", "1", "-2.5", "'a'", "true", "%", "'"]


@given(st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join) | st.text(max_size=30))
@settings(max_examples=200, deadline=None)
def test_whatever_is_asked_is_an_expression_or_told(where: str) -> None:
    try:
        expression = parse_where(where)
    except WhereError:
        return
    assert wanted_faces(PART, expression) <= {(0, 0), (0, 1), (2, 0)}


PART = decode_part("a part", encode_part(rows()))


def test_rows_are_read_back_as_they_were_written(part: pa.Table) -> None:
    back = list(member_rows(part))
    assert back == rows()

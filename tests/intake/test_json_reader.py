"""JSON that costs more than its bytes is refused before it is parsed."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intake.http.json_reader import JsonError, read_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=30,
)


@given(value=VALUES, ascii_only=st.booleans(), indent=st.sampled_from([None, 1]))
def test_what_is_small_is_read_as_it_is(
    value: object, ascii_only: bool, indent: int | None
) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    assert read_json(text, 1000) == value
    assert read_json(text.encode(), 1000) == value


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[" * 200_000, "in each other"),
        ("[" * 200_000 + "]" * 200_000, "in each other"),
        ('{"a":' * 200_000, "in each other"),
        ('[{"a":' * 100_000, "in each other"),
        ("[" + "0," * 1_000_000 + "0]", "more than 1000 values"),
        ("[" + "[]," * 1_000_000 + "[]]", "more than 1000 values"),
        ('"' * 4_000_000, "more than 1000 values"),
        ('{"a": {' + ",".join(f'"{one}":1' for one in range(900)) + "}}", "keys"),
        ('"' + "\\" * 4_000_001, "characters"),
        ('"' + '\\"' * 2_000_000, "characters"),
        ("1" * 1_000_000, "characters"),
        ("1" * 10_000, "is no JSON"),
        (" " * 1_000_000, "characters"),
        ('{"a": 1, "a": 2}', "a key twice"),
        ('[{"b": {"a": 1, "a": 1}}]', "a key twice"),
        ("[NaN]", "no JSON number"),
        ("[-Infinity]", "no JSON number"),
        ("", "is no JSON"),
        ("{", "is no JSON"),
        ("[1] 2", "is no JSON"),
    ],
)
def test_what_is_not_is_refused(text: str, why: str) -> None:
    with pytest.raises(JsonError, match=why):
        read_json(text, 1000)


def test_brackets_and_commas_in_strings_are_text() -> None:
    text = json.dumps(["[" * 1000, "," * 2000, '\\"{' * 500, ":" * 2000])
    assert read_json(text, 10) == json.loads(text)


def test_bytes_that_are_no_utf8_are_no_json() -> None:
    for data in (b"\xff", '["é"]'.encode("latin-1"), "[1]".encode("utf-16")):
        with pytest.raises(JsonError, match="is no JSON"):
            read_json(data, 10)

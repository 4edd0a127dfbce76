"""Which faces are wanted: `sharpness > 0.5 and abs(yaw) < 20`, over columns of both tables.

The grammar is closed, and nothing is ever evaluated but what is parsed here:

    either    = both {"or" both}
    both      = one {"and" one}
    one       = "not" one | "(" either ")" | flag | value test
    test      = ("=" | "!=" | "<>" | "<" | "<=" | ">" | ">=") value
              | ["not"] "in" "(" literal {"," literal} ")"
              | ["not"] "like" text
              | "is" ["not"] "null"
    value     = literal | column | "abs" "(" column ")"
    literal   = number | text in single quotes, ' doubled in it | "true" | "false"

Words are read in any case. As in SQL, a comparison with null is null, and so is its negation; a
face is wanted only where all is true.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from storage.errors import RedactedError
from storage.output.manifest import FACE_FIELDS, MEMBER_FIELDS

MOST_CHARACTERS = 4096
"""Of an expression."""

_MOST_DEEP = 50  # parentheses and negations within each other
_TOKEN = re.compile(
    r"\s*(?:(?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)"
    r"|(?P<text>'(?:[^']|'')*')"
    r"|(?P<word>[A-Za-z_][A-Za-z0-9_]*)"
    r"|(?P<sign><=|>=|<>|!=|==|[=<>(),]))"
)
_COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "=": operator.eq, "==": operator.eq, "!=": operator.ne, "<>": operator.ne,
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
_WORDS = {"and", "or", "not", "in", "like", "is", "null", "true", "false", "abs"}

Kind = Literal["number", "text", "yes or no"]


class WhereError(RedactedError):
    """An expression that says nothing about the faces, and why, in one line."""


class _Token(NamedTuple):
    kind: str
    text: str

    def __str__(self) -> str:
        return "the end" if self.kind == "end" else self.text


class _Value(NamedTuple):
    """A column or a literal, its kind, and how it was spelled."""

    expression: pc.Expression
    kind: Kind
    said: str


def _kind_of(type_: pa.DataType) -> Kind | None:
    if pa.types.is_boolean(type_):
        return "yes or no"
    if pa.types.is_string(type_):
        return "text"
    return "number" if pa.types.is_integer(type_) or pa.types.is_floating(type_) else None


COLUMNS: dict[str, Kind] = {
    one.name: kind
    for one in (*MEMBER_FIELDS, *FACE_FIELDS)
    if (kind := _kind_of(one.type)) is not None
}
"""What can be asked for: the columns of both tables but lists, and the kind of their values."""


def parse_where(text: str) -> pc.Expression:
    """Read an expression.

    Args:
        text: as above.

    Returns:
        The same for `Table.filter`, over `COLUMNS`.

    Raises:
        WhereError: it is none, or a column in it is none or of another kind.
    """
    return _Parser(text).parse()


class _Parser:
    def __init__(self, text: str) -> None:
        if len(text) > MOST_CHARACTERS:
            raise WhereError(f"where: at most {MOST_CHARACTERS} characters")
        self._tokens = [*_tokens(text), _Token("end", "")]
        self._at = 0
        self._deep = 0

    def parse(self) -> pc.Expression:
        found = self._either()
        if self._next.kind != "end":
            raise _unexpected(self._next, "and, or, or the end")
        return found

    @property
    def _next(self) -> _Token:
        return self._tokens[self._at]

    def _is(self, *words: str) -> bool:
        """Whether these come next; passes over them if they do."""
        coming = self._tokens[self._at : self._at + len(words)]
        if [one.text.lower() for one in coming] != list(words):
            return False
        if any(one.kind == "text" for one in coming):
            return False
        self._at += len(words)
        return True

    def _require(self, sign: str) -> None:
        if not self._is(sign):
            raise _unexpected(self._next, sign)

    def _either(self) -> pc.Expression:
        found = self._both()
        while self._is("or"):
            found = found | self._both()
        return found

    def _both(self) -> pc.Expression:
        found = self._one()
        while self._is("and"):
            found = found & self._one()
        return found

    def _one(self) -> pc.Expression:
        self._deep += 1
        if self._deep > _MOST_DEEP:
            raise WhereError(f"where: at most {_MOST_DEEP} parentheses within each other")
        try:
            if self._is("not"):
                return ~self._one()
            if self._is("("):
                found = self._either()
                self._require(")")
                return found
            return self._tested(self._value())
        finally:
            self._deep -= 1

    def _tested(self, value: _Value) -> pc.Expression:
        sign = self._next
        if sign.kind == "sign" and sign.text in _COMPARISONS:
            self._at += 1
            other = self._value()
            _require_alike(value, other)
            return _COMPARISONS[sign.text](value.expression, other.expression)
        if self._is("is", "not", "null"):
            return value.expression.is_valid()
        if self._is("is", "null"):
            return value.expression.is_null()
        negated = self._is("not")
        if self._is("in"):
            found = self._among(value)
        elif self._is("like"):
            found = self._like(value)
        elif value.kind == "yes or no" and not negated:
            return value.expression
        else:
            raise _unexpected(self._next, f"a comparison of {value.said}")
        return ~found if negated else found

    def _among(self, value: _Value) -> pc.Expression:
        self._require("(")
        found = None
        while True:
            token = self._next
            other = self._value()
            if token.kind not in ("number", "text") and token.text.lower() not in ("true", "false"):
                raise _unexpected(token, "a number or a text in quotes")
            _require_alike(value, other)
            # `isin` is not null where the value is, and its negation would want it
            same = value.expression == other.expression
            found = same if found is None else found | same
            if not self._is(","):
                break
        self._require(")")
        return found

    def _like(self, value: _Value) -> pc.Expression:
        token = self._next
        if token.kind != "text":
            raise _unexpected(token, "a text in quotes after like")
        pattern = self._value()
        _require_alike(value, pattern)
        return pc.match_like(value.expression, _unquoted(token.text))

    def _value(self) -> _Value:
        token = self._next
        self._at += 1
        word = token.text.lower()
        if token.kind == "number":
            number = float(token.text) if re.search(r"[.eE]", token.text) else int(token.text)
            if isinstance(number, int) and abs(number) >= 1 << 63:
                raise WhereError(f"where: {token.text} is more than a column holds")
            return _Value(pc.scalar(number), "number", token.text)
        if token.kind == "text":
            return _Value(pc.scalar(_unquoted(token.text)), "text", token.text)
        if token.kind == "word" and word in ("true", "false"):
            return _Value(pc.scalar(word == "true"), "yes or no", word)
        if token.kind == "word" and word == "abs":
            return self._size()
        if token.kind != "word" or word in _WORDS:
            raise _unexpected(token, "a column")
        if word not in COLUMNS:
            raise WhereError(f"where: there is no column {token.text}; there are {_columns()}")
        return _Value(pc.field(word), COLUMNS[word], word)

    def _size(self) -> _Value:
        self._require("(")
        value = self._value()
        self._require(")")
        if value.kind != "number":
            raise WhereError(f"where: abs takes a number, and {value.said} is {_a(value.kind)}")
        return _Value(pc.abs(value.expression), "number", f"abs({value.said})")


def _tokens(text: str) -> list[_Token]:
    found = []
    at, end = 0, len(text.rstrip())
    while at < end:
        matched = _TOKEN.match(text, at)
        if matched is None:
            rest = text[at:].strip()
            if rest.startswith("'"):
                raise WhereError("where: a text has no ' at its end")
            raise WhereError(f"where: {rest[0]!r} means nothing here; texts stand in 'quotes'")
        kind = matched.lastgroup
        assert kind is not None
        found.append(_Token(kind, matched[kind]))
        at = matched.end()
    return found


def _unquoted(text: str) -> str:
    return text[1:-1].replace("''", "'")


def _require_alike(one: _Value, other: _Value) -> None:
    if one.kind != other.kind:
        raise WhereError(
            f"where: {one.said} is {_a(one.kind)}, and {other.said} is {_a(other.kind)}"
        )


def _a(kind: Kind) -> str:
    return kind if kind == "yes or no" else f"a {kind}"


def _unexpected(token: _Token, wanted: str) -> WhereError:
    return WhereError(f"where: {token} stands where {wanted} should be")


def _columns() -> str:
    return ", ".join(sorted(COLUMNS))

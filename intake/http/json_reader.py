"""JSON from outside, read only once it is known to be small: in number, in depth and in keys."""

from __future__ import annotations

import json
import re
from typing import Any

_DEEPEST = 32  # lists and objects in each other
_LONGEST = 1 << 17  # string or number, in characters
_MOST_KEYS = 500  # of all objects together; all settings have some 30
# A string, closed or not, what gives JSON its form, or all up to the next of these. Something
# always matches, so that no byte is looked at twice; one match is all that other threads wait for,
# so it ends where a string is too long by its escapes alone.
_TOKEN = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+){0,70000}+"?|[\[\]{},:]|[^"\[\]{},:]++', re.DOTALL)


class JsonError(ValueError):
    """A text is no JSON, or more of it than is read; the message goes on after the text's name."""


def read_json(data: bytes | str, most_values: int) -> Any:
    """The value that a JSON text stands for.

    Args:
        data: the text, in UTF-8 where it is bytes.
        most_values: that it may hold, in all its lists and objects together.

    Raises:
        JsonError: it is none, has a key twice, or holds too many values or too deep ones.
    """
    try:
        text = data if isinstance(data, str) else data.decode("utf-8-sig")
        _bound(text, most_values)
        return json.loads(text, object_pairs_hook=_object, parse_constant=_no_constant)
    except JsonError:
        raise
    except (ValueError, RecursionError) as error:
        raise JsonError(f"is no JSON: {error}") from error


def _bound(text: str, most_values: int) -> None:
    """Refuses what would cost more to parse than its bytes; what is no JSON, the parser refuses."""
    depth = values = keys = strings = 0
    for token in _TOKEN.finditer(text):
        match token[0]:
            case "[" | "{":
                depth, values = depth + 1, values + 1
            case "]" | "}":
                depth -= 1
            case ",":
                values += 1
            case ":":
                keys += 1
            case found if found[0] == '"':
                strings += 1
        if token.end() - token.start() > _LONGEST:
            raise JsonError(f"has a value of more than {_LONGEST} characters")
        if depth > _DEEPEST:
            raise JsonError(f"has more than {_DEEPEST} lists and objects in each other")
        if values > most_values or strings > most_values + 2 * _MOST_KEYS:
            raise JsonError(f"holds more than {most_values} values")
        if keys > _MOST_KEYS:
            raise JsonError(f"holds more than {_MOST_KEYS} keys")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise JsonError("has a key twice in one object")
    return found


def _no_constant(name: str) -> Any:
    raise JsonError(f"has {name}, which is no JSON number")

"""Text from outside in tables; as a cell of a CSV file, which no spreadsheet and terminal obeys."""

from __future__ import annotations

import re
from unicodedata import category

from storage.fs.redact import printable

# What begins a formula, in each spelling that a spreadsheet may bring into plain letters.
_SIGNS = frozenset(
    "=+-@\u2212\u207a\u207c\u208a\u208c\u2a75\u2a76\ufb29\ufe62\ufe63\ufe66\ufe6b\uff0b\uff0d\uff1d\uff20"
)
_SEPARATORS = re.compile(r"([;|\t\n\v\f\r\x1c-\x1e\x85\u2028\u2029])")
_CONTROLS = ("\t", "\r", "\n")
_BLANKS = frozenset('"\u115f\u1160\u2800\u3164\uffa0')  # the quote, and letters without a shape


def cell(value: object) -> str:
    """Spell a text so that it stays text. An apostrophe keeps a formula from being one (OWASP).

    Blanks, control characters and what has no shape may stand before the formula's sign. Nor does a
    cell begin only where ours does: a spreadsheet that splits at semicolons or tabs knows nothing
    of our quotes, so an apostrophe also follows each separator that a formula follows. What a
    terminal would take for a command is spelled out. All other text stays as it is.
    """
    text = "" if value is None else str(value)
    pieces = _SEPARATORS.split(text)
    made = "".join(f"'{piece}" if _begins_formula(piece) else piece for piece in pieces)
    hidden = _begins_formula(_SEPARATORS.sub("", text)) or text.startswith(_CONTROLS)
    return printable(f"'{made}" if hidden and not made.startswith("'") else made)


def _begins_formula(text: str) -> bool:
    seen = (sign for sign in text if sign not in _BLANKS and category(sign)[0] not in "CMZ")
    return next(seen, "") in _SIGNS


def as_text(path: str) -> str:
    """A name for a table, also one that was never text: surrogates, from a tape's raw bytes."""
    return path.encode("utf-8", "backslashreplace").decode()

"""In which encoding an archive's names are, where it does not say so.

ZIP has a flag for UTF-8, which many writers forget, and TAR says nothing: Windows writes names in
the encoding of its user's language. All names of an archive that are not UTF-8 are taken together.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from storage.archives.alphabets import ENCODINGS, Script
from storage.output.names import shortened

AUTO = "auto"
_MOST_BYTES = 1 << 16  # of names that are looked at
_UNNOTICED = 0.2  # the chaos of an encoding that charset-normalizer has left out


@dataclass(frozen=True, slots=True)
class Spelling:
    """How names are to be read that are not marked as UTF-8.

    Attributes:
        encoding: as Python names it; "" where all are UTF-8.
        first: whether it is tried before UTF-8, as names of a few letters may be both.
        last: for what neither is; every byte means something in it.
    """

    encoding: str = ""
    first: bool = False
    last: str = "cp437"

    def text(self, raw: bytes, *, is_utf8: bool = False) -> str:
        """A name as text.

        Args:
            raw: as the archive has it.
            is_utf8: whether it is marked so.
        """
        # hardly any name but ASCII and UTF-8
        order = ("utf-8",) if not self.encoding else ("utf-8", self.encoding)
        if self.first and not is_utf8:
            order = order[::-1]
        for encoding in order:
            try:
                return shortened(raw.decode(encoding))
            except UnicodeDecodeError:
                continue
        return shortened(raw.decode(self.last))

    def __str__(self) -> str:
        return self.encoding if self.first or not self.encoding else f"utf-8 {self.encoding}"

    @classmethod
    def recorded(cls, words: str, last: str) -> Spelling:
        """The inverse of `str`; an encoding alone is one that somebody has chosen."""
        *before, encoding = words.split() or [""]
        return cls(encoding, bool(encoding) and not before, last)


def chosen(words: str, last: str) -> Spelling | None:
    """What a setting or a record says; None where it is to be guessed."""
    return None if words == AUTO else Spelling.recorded(words, last)


def is_encoding(name: str) -> bool:
    """Whether Python knows a text encoding of that name."""
    try:
        return codecs.lookup(name)._is_text_encoding
    except (LookupError, ValueError):
        return False


def note(spelling: Spelling) -> list[str]:
    """What a person should know of how names were read; nothing where all say it themselves."""
    if not spelling.encoding:
        return []
    return [
        f"names that are not in UTF-8 were read as {spelling.encoding}; "
        "--input-name-encoding names another encoding"
    ]


class Sample:
    """Names that are not marked as UTF-8, as many of them as a guess needs."""

    def __init__(self) -> None:
        self._odd: list[bytes] = []
        self._utf8: list[bytes] = []
        self._left = _MOST_BYTES

    def add(self, raw: bytes) -> None:
        """Take a name in, as the archive has it."""
        if raw.isascii() or self._left <= 0:
            return
        try:
            raw.decode()
        except UnicodeDecodeError:
            self._odd.append(raw)
        else:
            self._utf8.append(raw)
        self._left -= len(raw)

    def guess(self, last: str) -> Spelling:
        """Guess how such names are to be read.

        Args:
            last: see `Spelling`.
        """
        if not self._odd:
            return Spelling(last=last)
        # by chance some names in other encodings are UTF-8, but not many
        first = len(self._odd) > 2 * len(self._utf8)
        text = b"\n".join(self._odd + self._utf8 if first else self._odd)
        best = max(_scores(text), default=(0.0, 0, last))
        return Spelling(best[2], first, last)


def _scores(raw: bytes) -> Iterator[tuple[float, int, str]]:
    """Of each encoding how likely it is, and its place from the end where others are as likely."""
    from charset_normalizer import from_bytes  # here, as hardly any archive needs it

    chaos: dict[str, float] = {}
    for match in from_bytes(raw, cp_isolation=list(ENCODINGS), enable_fallback=False):
        for encoding in match.could_be_from_charset:
            chaos[encoding] = min(chaos.get(encoding, 1.0), match.chaos)
    for place, (encoding, script) in enumerate(ENCODINGS.items()):
        try:
            text = raw.decode(encoding)
        except UnicodeDecodeError:
            continue
        foreign = [letter for letter in text if not letter.isascii()]
        odd = sum(_odd(word, script) for word in re.findall(r"[^\W\d_]{2,}", text))
        likely = script.fit(foreign) - odd / max(len(foreign), 1)
        yield likely - chaos.get(encoding, _UNNOTICED), -place, encoding


def _odd(word: str, script: Script) -> float:
    """How many letters beyond ASCII stand where people put none."""
    foreign = sum(not letter.isascii() for letter in word)
    if script.is_latin or foreign == len(word):
        # a capital behind a small letter
        pairs = pairwise(word)
        return sum(one.islower() and two.isupper() and not two.isascii() for one, two in pairs)
    # two scripts in one word: where each letter is a word it happens
    return foreign / 4 if script.block[1] else foreign

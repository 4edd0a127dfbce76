"""Names of crops as a person has chosen them, such as `{folder}/{stem}_{rank:02d}`.

A template has fields of a closed set, and nothing of Python's format strings but what is checked
here: no attributes, no indexes, no conversions. Who writes a template reaches nothing by it.

Two crops must never share a name. What tells the faces of one photograph apart, `{rank}`, has to be
read back from a name without a doubt: it stands at the beginning or the end of a part between
slashes, with no digit and no text of a field next to it. So two names that are alike are of the
same rank, and then those of rank 0 are alike, too: comparing these, one a photograph, is enough.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from string import Formatter
from typing import NamedTuple, Self

from storage.output.layout import REJECTED, UNMATCHED
from storage.output.names import (
    COMPONENT_BYTES,
    FORBIDDEN,
    PATH_BYTES,
    component,
    cut_to,
    fold,
    folder_component,
    looks_like_image,
    split,
)

NUMBERS = ("rank", "page", "member")
TEXTS = ("folder", "subject", "stem", "sha256")
FIELDS = (*TEXTS, *NUMBERS)
"""What every photograph and face has; columns of a roster come to it."""

MOST_CHARACTERS = 400
_MOST_PARTS = 4
_NUMBER_SPEC = re.compile(r"(0?[1-9])?d?")
_DIGEST_SPEC = re.compile(r"([89]|[1-5]\d|6[0-4])?")
_DIGEST_DIGITS = 16
_NUMBER_BYTES = 12  # that a number takes at most, where its width is not more
_LEAST_TEXT = 16  # bytes that are left for what a field says
_OWN_SIGN = "~"  # before the number of a member that is told apart by it


class Piece(NamedTuple):
    """Text as it stands in the template, or a field.

    Attributes:
        text: as it stands, or the field's name.
        spec: of a field, how it is written; None for text as it stands.
    """

    text: str
    spec: str | None = None

    @property
    def is_number(self) -> bool:
        """Whether it is a field that is written as digits."""
        return self.spec is not None and self.text in NUMBERS


Part = tuple[Piece, ...]
_FOLDER = Piece("folder", "")


@dataclass(frozen=True, slots=True)
class Named:
    """What the names of a photograph's crops are made of, beside rank and page.

    Attributes:
        path: the member's, as the archive spells it.
        member: its index.
        sha256: of the photograph, in hexadecimal digits.
        row: the cells of the roster's row for it, by column; None where there is none.
    """

    path: str
    member: int
    sha256: str = ""
    row: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Template:
    """A template that was checked; see `of`.

    Attributes:
        parts: what stands between the slashes; the last is the file's name.
        fields: names of the fields that it has.
        columns: those of them that are columns of a roster.
        read_back: those of its numbers that can be read from a name without a doubt.
    """

    parts: tuple[Part, ...]
    fields: frozenset[str]
    columns: frozenset[str]
    read_back: frozenset[str]

    @classmethod
    def of(cls, text: str, columns: Collection[str] | None = ()) -> Self:
        """Check a template.

        Args:
            text: the template.
            columns: of the roster; None where it was not read yet, and may have any.

        Raises:
            ValueError: one line: what is wrong with it, and what there is.
        """
        if len(text) > MOST_CHARACTERS:
            raise ValueError(f"a name has {MOST_CHARACTERS} characters at most")
        parts: list[list[Piece]] = [[]]
        try:
            parsed = list(Formatter().parse(text))
        except ValueError as error:
            raise ValueError(f"braces do not match ({error}): write a field as {{stem}}") from error
        for literal, field, spec, conversion in parsed:
            first, *others = literal.split("/")
            _refuse_signs(literal)
            parts[-1] += [Piece(first)] if first else []
            parts += [[Piece(one)] if one else [] for one in others]
            if field is not None:
                parts[-1].append(_field(field, spec or "", conversion, columns))
        if len(parts) > _MOST_PARTS:
            raise ValueError(f"a name has {_MOST_PARTS} parts between slashes at most")
        made = tuple(map(tuple, map(_joined, parts)))
        for part in made:
            _refuse_part(part)
        used = [piece.text for part in made for piece in part if piece.spec is not None]
        if used.count("folder") > 1:
            raise ValueError("{folder} stands there twice, and once is enough")
        read_back = frozenset(name for part in made for name in _read_back(part))
        return cls(made, frozenset(used), frozenset(used) - {*FIELDS}, read_back)

    @property
    def is_unique(self) -> bool:
        """Whether no two photographs' names can be alike, whatever they are called."""
        return "member" in self.read_back

    def is_known(self, named: Named) -> bool:
        """Whether there is all that the template asks for; if not, its own name is taken."""
        return not self.columns or named.row is not None

    def path(self, named: Named, rank: int = 0, page: int = 0) -> tuple[str, bool]:
        """The name of a crop, without its extension, that every file system takes.

        That of a member which is not called like an image ends in its number, as a plan that
        compares names does not count on it to be one.

        Args:
            named: its photograph.
            rank, page: of the face.

        Returns:
            A relative path with `/`, and whether anything had to be changed in it.
        """
        numbers = {"rank": rank, "page": page, "member": named.member}
        values = [[_value(piece, named, numbers) for piece in part] for part in self.parts]
        plain = "/".join(filter(None, map("".join, values)))
        made_of = zip(self.parts, values, strict=True)
        *folders, [last] = (self._made(part, texts, named) for part, texts in made_of)
        own = [*(folder_component(step) for folder in folders for step in folder), last]
        if fold(own[0]) in (REJECTED, UNMATCHED):
            own[0] = f"_{own[0]}"
        if not self.is_unique and not looks_like_image(named.path):
            own[-1] += f"{_OWN_SIGN}{named.member}"
        made = "/".join(own)
        return made, made != unicodedata.normalize("NFC", plain)

    def _made(self, part: Part, values: list[str], named: Named) -> list[str]:
        """A part as components that every file system takes; of no folder, none."""
        if part[0] == _FOLDER:
            room = PATH_BYTES - (len(self.parts) - 1) * (COMPONENT_BYTES + 2)
            return _within([component(_signless(one)) for one in _folders(named.path)], room)
        texts = sum(map(_is_text, part)) or 1
        room = (COMPONENT_BYTES - sum(map(_fixed_bytes, part))) // texts
        safe = (
            cut_to(unicodedata.normalize("NFC", _signless(value)), room)
            if _is_text(piece)
            else value
            for piece, value in zip(part, values, strict=True)
        )
        return [component("".join(safe))]


@lru_cache(64)
def template(text: str, columns: frozenset[str] | None = frozenset()) -> Template:
    """`Template.of`, remembered."""
    return Template.of(text, columns)


def _field(name: str, spec: str, conversion: str | None, columns: Collection[str] | None) -> Piece:
    others = [] if columns is None else [f"{{{one}}}" for one in sorted(columns)]
    there = ", ".join([*(f"{{{one}}}" for one in FIELDS), *others])
    known = name in FIELDS or (name and columns is None) or name in (columns or ())
    if conversion or not known:
        said = f"{name}!{conversion}" if conversion else name
        raise ValueError(f"there is no field {{{said}}}; there are {there}")
    pattern = _NUMBER_SPEC if name in NUMBERS else _DIGEST_SPEC if name == "sha256" else None
    if spec and (pattern is None or not pattern.fullmatch(spec)):
        how = {
            _NUMBER_SPEC: f"{{{name}}} or, with leading zeros, {{{name}:04d}}",
            _DIGEST_SPEC: f"{{{name}}}, or with 8 to 64 digits {{{name}:12}}",
            None: f"{{{name}}}",
        }[pattern]
        raise ValueError(f"{{{name}:{spec}}} cannot be; write {how}")
    if pattern is _NUMBER_SPEC and spec[:1] not in ("", "0", "d"):
        raise ValueError(f"{{{name}:{spec}}} would have blanks in it; write {{{name}:0{spec}}}")
    return Piece(name, spec)


def _refuse_signs(literal: str) -> None:
    found = FORBIDDEN.search(literal) or re.search(r"[\\~]", literal)
    if found:
        raise ValueError(f"{found[0]!r} cannot be in a name")


def _joined(pieces: Iterable[Piece]) -> list[Piece]:
    """With neighbouring text in one piece, as of braces that stand for themselves."""
    made: list[Piece] = []
    for piece in pieces:
        if made and made[-1].spec is None and piece.spec is None:
            made[-1] = Piece(made[-1].text + piece.text)
        else:
            made.append(piece)
    return made


def _refuse_part(part: Part) -> None:
    if not part:
        raise ValueError("between two slashes, and before and behind one, there has to be a name")
    if len(part) == 1 and part[0].spec is None and component(part[0].text) != part[0].text:
        raise ValueError(f"{part[0].text!r} is no name that every system takes")
    if len(part) > 1 and _FOLDER in part:
        raise ValueError("{folder} is a path, and stands alone between slashes: {folder}/{stem}")
    texts = sum(map(_is_text, part))
    if sum(map(_fixed_bytes, part)) + texts * _LEAST_TEXT > COMPONENT_BYTES:
        raise ValueError("it is too long: no room is left for what its fields say")


def _is_text(piece: Piece) -> bool:
    return piece.spec is not None and piece.text not in (*NUMBERS, "sha256")


def _fixed_bytes(piece: Piece) -> int:
    """What a piece takes, whatever its photograph is."""
    if piece.spec is None:
        return len(piece.text.encode())
    if piece.text == "sha256":
        return int(piece.spec or _DIGEST_DIGITS)
    return _NUMBER_BYTES if piece.is_number else 0


def _read_back(part: Part) -> set[str]:
    """The numbers of a part that a name tells, read from its beginning or from its end."""
    found: set[str] = set()
    for pieces, facing in ((part, 0), (part[::-1], -1)):
        waiting = ""  # a number, until it is seen where it ends
        for piece in pieces:
            if piece.is_number and not waiting:
                waiting = piece.text
            elif piece.spec is None:
                if waiting and piece.text[facing].isdigit():
                    break
                found |= {waiting} - {""}
                waiting = ""
            else:
                break
        else:
            found |= {waiting} - {""}
    return found


def _value(piece: Piece, named: Named, numbers: Mapping[str, int]) -> str:
    """What a piece says, as it is."""
    name, spec = piece
    if spec is None:
        return name
    if name in NUMBERS:
        return format(numbers[name], spec)
    if name == "sha256":
        return named.sha256[: int(spec or _DIGEST_DIGITS)]
    if name not in TEXTS:
        return (named.row or {}).get(name, "")
    if name == "stem":
        return stem(named.path)
    return "/".join(_folders(named.path)) if name == "folder" else subject(named.path)


def _folders(path: str) -> list[str]:
    return [one for one in split(path)[0] if one not in ("", ".")]


def stem(path: str) -> str:
    """The name of a photograph's file, without its extension."""
    file = split(path)[1]
    return file.rpartition(".")[0] or file


def subject(path: str) -> str:
    """The folder that a photograph lies in, by its own name; "" where it lies in none."""
    return next(reversed(_folders(path)), "")


def _signless(value: str) -> str:
    """A value without what separates folders, and without the sign that is Facecrop's own."""
    return re.sub(r"[/\\~]", "_", value)


def _within(steps: list[str], most: int) -> list[str]:
    """The first folders of a path, up to so many bytes."""
    kept = []
    for step in steps:
        most -= len(step.encode()) + 2
        if most < 0:
            break
        kept.append(step)
    return kept

"""What the readers of plain and of compressed TARs share: a chunk of one, read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field

from storage.archives.members import Chunk, Entry, Inner, Limits, doubts
from storage.archives.spelling import Spelling
from storage.archives.tarheaders import Kind, Member, scan
from storage.archives.tarsources import Memory
from storage.errors import (
    ArchiveError,
    EmptyError,
    MemberError,
    MemberErrorCode,
    SkipReason,
    too_large,
)
from storage.fs.location import RangeReader
from storage.output.names import skip_reason

LAST = "latin-1"
"""The encoding of names that are neither UTF-8 nor what is guessed."""

Faults = dict[int, tuple[str, str]]
"""Of each damaged member, by its index, the name and what is wrong."""


@dataclass(frozen=True, slots=True)
class Told:
    """What is known of a chunk's members beside their bytes; its `directory`.

    Attributes:
        names: how names are read; see `Spelling.recorded`.
        faults: of each damaged member, by its place in the chunk, the name and what is wrong.
    """

    names: str = ""
    faults: Faults = field(default_factory=dict)

    def encode(self) -> bytes:
        """As bytes."""
        return json.dumps([self.names, list(self.faults.items())]).encode()

    @classmethod
    def decode(cls, directory: bytes) -> Told:
        """What `encode` was given."""
        names, faults = json.loads(directory)
        return cls(names, {index: (name, fault) for index, (name, fault) in faults})


def is_kept(member: Member, limits: Limits) -> bool:
    """Whether its content is read at all; a chunk ends behind the headers of one that is not."""
    return member.size <= limits.member_bytes and member.kind is not Kind.SPARSE


def entries(data: bytes, chunk: Chunk, uri: str, limits: Limits) -> Iterator[Entry]:
    """Read the members of a chunk.

    Args:
        data: the chunk's bytes.
        chunk: says how many there are, and which are damaged.
        uri: of the archive, for messages.
        limits: bounds on a member.
    """
    view = memoryview(data)
    told = Told.decode(chunk.directory)
    spelling = Spelling.recorded(told.names, LAST)
    members = scan(Memory(data), uri)
    for place in range(chunk.count):
        index = chunk.first + place
        if place in told.faults:
            name, fault = told.faults[place]
            yield Entry(index, name, 0, error=_damaged(fault))
            continue
        member = next(members, None)
        if member is None or member.kind is Kind.DAMAGED:
            raise _foreign(chunk, uri)
        name = spelling.text(member.name)
        skip = _skip(member, name, limits)
        error = None if skip else _refusal(member, limits)
        if skip or error:
            yield Entry(index, name, member.size, skip=skip, error=error)
        else:
            content = view[member.data : member.data + member.size]
            yield Entry(index, name, member.size, content, warnings=doubts(name))
    if next(members, None) is not None:
        raise _foreign(chunk, uri)


def _foreign(chunk: Chunk, uri: str) -> ArchiveError:
    return ArchiveError(f"{uri}: chunk {chunk.number} belongs to another archive")


def _damaged(fault: str) -> MemberError:
    return MemberError(MemberErrorCode.ARCHIVE_DAMAGED, f"the archive {fault}")


def damages(faults: Faults) -> list[str]:
    """A line on where the archive broke, the first time."""
    if not faults:
        return []
    index, (name, fault) = next(iter(faults.items()))
    more = f" (and {len(faults) - 1} times more)" if len(faults) > 1 else ""
    return [f"the archive {fault}: member {index}, {name}{more}"]


def _skip(member: Member, name: str, limits: Limits) -> SkipReason | None:
    if member.kind is Kind.LINK:
        return SkipReason.LINK
    if member.kind is Kind.SPECIAL:
        return SkipReason.SPECIAL_FILE
    return skip_reason(name, system=limits.skip_system)


def _refusal(member: Member, limits: Limits) -> MemberError | None:
    if member.kind is Kind.SPARSE:
        return _sparse()
    if member.size > limits.member_bytes:
        return too_large(member.size, limits.member_bytes)
    return None


def inner(member: Member, name: str, limits: Limits, reader: RangeReader) -> Inner | None:
    """An archive that is a member, to be read from `reader`; None where it is to be skipped."""
    if _skip(member, name, limits) is not SkipReason.NESTED_ARCHIVE:
        return None
    if member.kind is Kind.SPARSE:
        return Inner(name, member.size, 0, error=_sparse())
    return Inner(name, member.size, member.size, reader)


def _sparse() -> MemberError:
    return MemberError(
        MemberErrorCode.UNSUPPORTED_COMPRESSION,
        "it is stored as a GNU sparse file; repack the archive without --sparse",
    )


def empty(uri: str) -> EmptyError:
    """The error for a TAR without members."""
    return EmptyError(f"{uri} is an empty TAR: there is nothing in it to work on")

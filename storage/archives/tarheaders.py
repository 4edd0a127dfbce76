"""The headers of a TAR file: ustar and pax (POSIX.1-2017, pax, "ustar Interchange Format"), GNU."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from storage.errors import DamagedError

BLOCK = 512
_ZEROS = bytes(BLOCK)
_MAX_HEADERS = 1 << 20  # all that stands before one member's content; above this is damage
_MAX_ZEROS = 64 << 20  # bytes between members; a hole in a sparse file costs nothing but our time
_MAX_SIZE = 1 << 62  # so that its end is a 64-bit number, too
_MAX_SEARCH = 1 << 30  # bytes behind damage in which the next header is looked for


class Kind(Enum):
    """What a member is."""

    FILE = "file"
    LINK = "link"
    SPECIAL = "special"
    SPARSE = "sparse"
    DAMAGED = "damaged"  # no member could be made out: its `data` and `end` are where it begins


@dataclass(frozen=True, slots=True)
class Member:
    """One member's place, in bytes from the start of the (uncompressed) TAR.

    Attributes:
        begin: where its first header is, extended ones included.
        data: where its content begins.
        size: bytes of content.
        end: where the next header begins.
        name: as the archive has it, in whatever encoding.
        kind: what it is.
        fault: of a damaged one, what is wrong.
    """

    begin: int
    data: int
    size: int
    end: int
    name: bytes
    kind: Kind
    fault: str = ""


class Source(Protocol):
    """Bytes in order."""

    @property
    def position(self) -> int:
        """Bytes read or passed over so far."""
        ...

    @property
    def fault(self) -> DamagedError | None:
        """Why it ended before its end; None where it did not."""
        ...

    def read(self, size: int, /) -> bytes:
        """Return the next `size` bytes, fewer only at the end."""
        ...

    def skip(self, size: int) -> None:
        """Pass over bytes, to the end if there are fewer."""
        ...

    def mark(self) -> None:
        """Say that a member may begin here and nothing before is wanted any more."""
        ...


def is_header(block: bytes) -> bool:
    """Whether 512 bytes are a TAR header, by their checksum."""
    if len(block) < BLOCK or block[:BLOCK] == _ZEROS:
        return False
    stated = _number(block[148:156])
    # the checksum field itself counts as eight blanks; old writers summed signed characters
    if stated <= 0:
        return False
    blanked = block[:148] + b" " * 8 + block[156:BLOCK]
    total = sum(blanked)
    return total == stated or total - 256 * sum(octet > 127 for octet in blanked) == stated


def scan(source: Source, uri: str) -> Iterator[Member]:
    """Walk the headers; directories are passed over.

    The consumer may read a member's content from `source` before it asks for the next member.
    Zero blocks between members are passed over too: whatever stands behind them must be a header
    again (archives put one behind the other) and is damage otherwise, so that damage never looks
    like the end. Nor do more zeros than anybody pads with: room that was made for a download.

    Damage is a member of its own, of the kind `DAMAGED`; the next header behind it, as its checksum
    tells, goes on.

    Raises:
        DamagedError: the first member is none.
        TransientError: storage failed.
    """
    last: Member | None = None
    zeros = 0
    header = b""  # one that was found behind damage
    while True:
        if not header:
            source.mark()
        begin = source.position - len(header)
        try:
            block = header or source.read(BLOCK)
            header = b""
            if not block:
                if source.fault is not None:
                    raise source.fault
                return
            if not block.strip(b"\0"):  # the last one may lack its end
                zeros += BLOCK
                if zeros <= _MAX_ZEROS:
                    continue
                raise DamagedError(
                    uri,
                    f"is damaged: more than {_MAX_ZEROS:,} zero bytes before byte "
                    f"{source.position}, where a member should begin",
                )
            if zeros >= 2 * BLOCK and not is_header(block):
                raise DamagedError(uri, f"has something behind its end, at byte {begin}")
            zeros = 0
            member = _described(source, uri, block, begin)
            if member is None:
                continue
            last = member
            yield member
            source.skip(member.end - source.position)
            if source.position < member.data + member.size:  # its padding may be missing
                raise cut_short(source, uri, begin)
        except DamagedError as error:
            if last is None:
                raise
            behind = b"(behind %s)" % last.name
            yield Member(begin, begin, 0, begin, behind, Kind.DAMAGED, error.what)
            if error is source.fault or zeros > _MAX_ZEROS:
                return
            header, zeros = _next_header(source), 0


def cut_short(source: Source, uri: str, at: int) -> DamagedError:
    """The error for a TAR that ends inside a member."""
    what = f"is cut short: it ends inside the member at byte {at}"
    return source.fault or DamagedError(uri, what)


def _next_header(source: Source) -> bytes:
    """Look for a header; nothing where there is none before the end, or far and wide."""
    for _ in range(_MAX_SEARCH // BLOCK):
        source.mark()
        block = source.read(BLOCK)
        if not block or is_header(block):
            return block
    source.skip(_MAX_SIZE)
    return b""


def _described(source: Source, uri: str, block: bytes, begin: int) -> Member | None:
    """The member whose first header is `block`; None for what is no member."""
    extensions: dict[str, bytes] = {}
    while True:
        if len(block) < BLOCK:
            raise cut_short(source, uri, begin)
        if not is_header(block):
            what = "damaged" if begin else "not a TAR, or damaged at its very start"
            at = source.position - BLOCK
            raise DamagedError(uri, f"is {what}: no valid TAR header at byte {at}")
        if block[156:157] not in b"xXgLKN":
            return _member(source, uri, block, extensions, begin)
        _extend(source, uri, block, extensions, begin)
        block = source.read(BLOCK)


def _extend(
    source: Source, uri: str, block: bytes, extensions: dict[str, bytes], begin: int
) -> None:
    """Read what stands before a member's own header and belongs to it."""
    kind = block[156:157]
    size = _number(block[124:136])
    if not 0 <= size <= begin + _MAX_HEADERS - source.position:
        raise DamagedError(
            uri,
            f"is damaged: the extended TAR header before byte {source.position} declares "
            f"{size} bytes, and one member has {_MAX_HEADERS:,} of them at most",
        )
    body = source.read(_padded(size))
    if len(body) < _padded(size):
        raise cut_short(source, uri, source.position - len(body) - BLOCK)
    if kind in b"xX":
        extensions.update(_pax(body[:size], uri, source.position))
    elif kind == b"L":
        extensions.setdefault("path", body[:size].rstrip(b"\0"))


def _pax(body: bytes, uri: str, at: int) -> dict[str, bytes]:
    """Records of the form `<length> <key>=<value>\\n`, the length counting itself."""
    records = {}
    begin, size = 0, len(body.rstrip(b"\0"))
    while begin < size:
        digits, blank, _ = body[begin : begin + 20].partition(b" ")
        end = begin + (int(digits) if digits.isdigit() else 0)
        key, equals, value = body[begin + len(digits) + 1 : max(end - 1, 0)].partition(b"=")
        if not (blank and equals and end <= len(body) and body[end - 1 : end] == b"\n"):
            raise DamagedError(uri, f"is damaged: the pax header before byte {at} makes no sense")
        records[key.decode("latin-1")] = value
        begin = end
    return records


def _member(
    source: Source, uri: str, block: bytes, extensions: dict[str, bytes], begin: int
) -> Member | None:
    """What a header describes; None for what is no member: directories, labels, dump lists."""
    flag = block[156:157]
    name = block[:100].split(b"\0")[0]
    prefix = block[345:500].split(b"\0")[0]
    if prefix and block[257:263] == b"ustar\0":
        name = prefix + b"/" + name
    name = extensions.get("path", name)
    size = _number(block[124:136])
    if (stated := extensions.get("size")) is not None:
        size = int(stated) if stated.isdigit() and len(stated) < 20 else -1
    if not 0 <= size < _MAX_SIZE:
        raise DamagedError(
            uri,
            f"is damaged: the TAR header before byte {source.position} declares no valid size",
        )
    if flag == b"M":
        raise DamagedError(uri, "is one part of a multi-volume TAR", "join its parts first")
    kind = Kind.FILE
    if flag in b"12":
        kind, size = Kind.LINK, 0
    elif flag in b"346":
        kind, size = Kind.SPECIAL, 0
    elif flag == b"S":
        kind = Kind.SPARSE
        more = block[482]
        while more:  # further blocks of the map of holes
            block = source.read(BLOCK)
            if len(block) < BLOCK:
                raise cut_short(source, uri, begin)
            if source.position - begin > _MAX_HEADERS:
                raise DamagedError(
                    uri, f"is damaged: the map of the sparse file at byte {begin} has no end"
                )
            more = block[504]
    elif any(key.startswith("GNU.sparse.") for key in extensions):
        kind, name = Kind.SPARSE, extensions.get("GNU.sparse.name", name)
    elif flag == b"5" or flag == b"V" or (flag == b"\0" and name.endswith(b"/")):
        return None
    elif flag == b"D":
        end = source.position + size
        source.skip(_padded(size))
        if source.position < end:
            raise cut_short(source, uri, begin)
        return None
    data = source.position
    return Member(begin, data, size, data + _padded(size), name, kind)


def _number(field: bytes) -> int:
    """Octal digits, or GNU's base-256 where the first bit is set; -1 for neither."""
    if field[0] & 0x80:
        value = int.from_bytes(field, "big", signed=False) - (0x80 << 8 * (len(field) - 1))
        return -1 if field[0] == 0xFF else value
    digits = field.split(b"\0")[0].strip()
    if not digits:
        return 0
    try:
        return int(digits, 8)
    except ValueError:
        return -1


def _padded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK

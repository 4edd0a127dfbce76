"""A TIFF's image file directories, read without decoding a picture (TIFF 6.0, 2; BigTIFF)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

MOST_PAGES = 100_000
_MOST_CHILDREN = 64  # of a directory: pyramids and previews are a few
_BIG = 43
_ORDERS = {b"II": "<", b"MM": ">"}
_SIZES = {
    1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4,
    16: 8, 17: 8, 18: 8,
}  # fmt: skip
_NUMBERS = {
    1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 11: "f", 12: "d", 13: "I",
    16: "Q", 17: "q", 18: "Q",
}  # fmt: skip

SUBFILE, OLD_SUBFILE = 254, 255
WIDTH, HEIGHT = 256, 257
BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER = 258, 259, 262, 266
STRIPS, ORIENTATION, SAMPLES, ROWS_PER_STRIP, STRIP_BYTES = 273, 274, 277, 278, 279
MAX_VALUE, PLANAR, PREDICTOR = 281, 284, 317
TILE_WIDTH, TILE_HEIGHT, TILES, TILE_BYTES = 322, 323, 324, 325
CHILDREN, EXTRA_SAMPLES, SAMPLE_FORMAT, LEAST_SAMPLE, MOST_SAMPLE = 330, 338, 339, 340, 341


@dataclass(frozen=True, slots=True)
class Directory:
    """One of a file's directories.

    Attributes:
        data: the file.
        order: `<` or `>`, as `struct` has it.
        big: whether it is a BigTIFF's.
        at: where it stands.
        entries: by tag: type, number of values, and where these stand.
        following: where the next page's stands; 0 for none.
    """

    data: bytes
    order: str
    big: bool
    at: int
    entries: dict[int, tuple[int, int, int]]
    following: int

    def raw(self, tag: int) -> bytes:
        """A tag's values as they stand there; empty where it is missing or points astray."""
        kind, count, where = self.entries.get(tag, (1, 0, 0))
        content = self.data[where : where + count * _SIZES[kind]]
        return content if len(content) == count * _SIZES[kind] else b""

    def numbers(self, tag: int) -> tuple[float, ...]:
        """A tag's values, where they are numbers."""
        kind = self.entries.get(tag, (0,))[0]
        if kind not in _NUMBERS:
            return ()
        raw = self.raw(tag)
        return struct.unpack(f"{self.order}{len(raw) // _SIZES[kind]}{_NUMBERS[kind]}", raw)

    def number(self, tag: int, default: int = 0) -> int:
        """The first of a tag's values, where it is a whole number."""
        kind, count, where = self.entries.get(tag, (0, 0, 0))
        if not count or kind not in _NUMBERS or kind in (11, 12):
            return default
        try:
            (value,) = struct.unpack_from(self.order + _NUMBERS[kind], self.data, where)
        except (struct.error, OverflowError):
            return default
        return int(value)

    @property
    def reduced(self) -> bool:
        """Whether it says that it is a small copy of another picture, or a mask."""
        return bool(self.number(SUBFILE) & 5) or self.number(OLD_SUBFILE) == 2

    @property
    def pixels(self) -> int:
        """Width times height; 0 where that makes no sense."""
        return max(0, self.number(WIDTH)) * max(0, self.number(HEIGHT))

    @property
    def children(self) -> list[Directory]:
        """What it points at by SubIFDs (TIFF Technical Note 1)."""
        offsets = self.numbers(CHILDREN)[:_MOST_CHILDREN]
        found = (_directory(self.data, self.order, self.big, int(at)) for at in offsets)
        return [one for one in found if one is not None]

    def pointed_at(self, tag: int) -> Directory | None:
        """The directory whose place a tag has, such as Exif's (Exif 2.32, 4.6.3); None for none."""
        where = self.number(tag)
        return _directory(self.data, self.order, self.big, where) if where > 0 else None

    def first(self) -> bytes:
        """The same file, with this directory in front."""
        pointer = struct.pack(self.order + ("Q" if self.big else "I"), self.at)
        head = 8 if self.big else 4
        return b"".join([self.data[:head], pointer, memoryview(self.data)[head + len(pointer) :]])


def pages(data: bytes) -> Iterator[Directory]:
    """The directories that follow each other, whatever they are of."""
    order = _ORDERS.get(data[:2])
    if order is None or len(data) < 16:
        return
    (magic,) = struct.unpack_from(order + "H", data, 2)
    big = magic == _BIG
    (at,) = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)
    seen: set[int] = set()
    while at and at not in seen and len(seen) < MOST_PAGES:
        seen.add(at)
        directory = _directory(data, order, big, at)
        if directory is None:
            return
        yield directory
        at = directory.following


def _directory(data: bytes, order: str, big: bool, at: int) -> Directory | None:
    """The directory at an offset; None where there is none whole."""
    counts, entry, pointer = ("Q", "HHQ", "Q") if big else ("H", "HHI", "I")
    head, inline = struct.calcsize("<" + entry), struct.calcsize("<" + pointer)
    try:
        (count,) = struct.unpack_from(order + counts, data, at)
        start = at + struct.calcsize("<" + counts)
        if count * (head + inline) > len(data) - start:
            return None
        entries: dict[int, tuple[int, int, int]] = {}
        for where in range(start, start + count * (head + inline), head + inline):
            tag, kind, number = struct.unpack_from(order + entry, data, where)
            if kind not in _SIZES:
                continue
            value = where + head
            if number * _SIZES[kind] > inline:
                (value,) = struct.unpack_from(order + pointer, data, value)
            entries.setdefault(tag, (kind, number, value))
        end = start + count * (head + inline)
        following = 0
        if end + inline <= len(data):  # the last one's pointer is missing from some files
            (following,) = struct.unpack_from(order + pointer, data, end)
    except (struct.error, OverflowError):
        return None
    return Directory(data, order, big, at, entries, following)


def with_directory(data: bytes, big: bool, values: dict[int, tuple[int, ...]]) -> bytes:
    """A TIFF of the same data with one directory, of whole numbers, in Intel's byte order."""
    word, size, kind = ("Q", 8, 16) if big else ("I", 4, 4)
    counts = "<Q" if big else "<H"
    at = len(data) + len(data) % 2
    blobs = at + struct.calcsize(counts) + len(values) * (4 + 2 * size) + size
    head, rest = [struct.pack(counts, len(values))], bytearray()
    for tag, numbers in sorted(values.items()):
        raw = struct.pack(f"<{len(numbers)}{word}", *numbers)
        where = raw if len(raw) <= size else struct.pack("<" + word, blobs + len(rest))
        rest += raw if len(raw) > size else b""
        head.append(struct.pack("<HH" + word, tag, kind, len(numbers)) + where.ljust(size, b"\0"))
    start = (
        struct.pack("<2sHHHQ", b"II", _BIG, 8, 0, at)
        if big
        else struct.pack("<2sHI", b"II", 42, at)
    )
    return b"".join(
        [start, memoryview(data)[len(start) :], bytes(at - len(data)), *head, bytes(size), rest]
    )

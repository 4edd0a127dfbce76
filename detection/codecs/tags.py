"""Exif's tags, copied by a list of what may go along into a block of our own.

What is not on the list is not in the new block, nor is what nothing points at: thumbnails, maker
notes, which hold pictures and serial numbers in ways that only their makers know, and padding.
Only the two pointers of the first directory are followed, so that there is no loop to run into.
Numbers of tags, and what they mean: CIPA DC-008-2023 (Exif 3.0), 4.6.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Literal

from detection.codecs.directories import (
    BITS,
    COMPRESSION,
    HEIGHT,
    ORIENTATION,
    PHOTOMETRIC,
    ROWS_PER_STRIP,
    SAMPLES,
    STRIP_BYTES,
    STRIPS,
    WIDTH,
    Directory,
    pages,
)
from detection.options import MOST_EXIF_BYTES

Entry = tuple[int, int, bytes]  # type, count and values, in the block's byte order
Entries = dict[int, Entry]

_DETAILS, _PLACE = 0x8769, 0x8825  # pointers to the directories of Exif and GPS
_VERSION, _COLOURS, _WIDTH, _HEIGHT = 0x9000, 0xA001, 0xA002, 0xA003
_PROFILE, _XMP = 34675, 700  # ICC.1:2022, B.3; XMP part 3, 1.1.5
_RGB, _BLACK_IS_ZERO = 2, 1  # of PhotometricInterpretation
_HEAD_BYTES = 8
_SRGB, _UNCALIBRATED = 1, 0xFFFF
_BYTE, _ASCII, _SHORT, _LONG, _UNDEFINED = 1, 2, 3, 4, 7
_TEXT_TYPES = {_ASCII}
_NUMBER_TYPES = {_SHORT, _LONG, 5, 8, 9, 10}
_CLASSIC_TYPES = range(1, 13)  # of TIFF 6.0; BigTIFF has more
_MOST_NUMBERS = 4  # of a tag: a lens's specification
_MOST_TEXT_BYTES = 2048
_MOST_VALUE_BYTES = 8192
_JPEG = b"\xff\xd8\xff"

# Time, make and model, artist and copyright
_SAFE_TEXTS = frozenset({0x010F, 0x0110, 0x0132, 0x013B, 0x8298})
# Times, their offsets from UTC and fractions; the lens's make and model
_SAFE_DETAIL_TEXTS = frozenset(
    {0x9003, 0x9004, 0x9010, 0x9011, 0x9012, 0x9290, 0x9291, 0x9292, 0xA433, 0xA434}
)
# Exposure, aperture, sensitivity, metering, flash, focal length, modes, the lens's specification
_SAFE_DETAIL_NUMBERS = frozenset(
    {
        *(0x829A, 0x829D, 0x8822, 0x8827, *range(0x8830, 0x8836), 0x9201, 0x9202, 0x9204, 0x9205),
        *(0x9207, 0x9209, 0x920A, 0xA402, 0xA403, 0xA405, 0xA432),
    }
)
# What a picture is of and by, its print resolution; XP's title, comment, author, keywords, subject
_ALL = _SAFE_TEXTS | {
    *(0x010E, 0x011A, 0x011B, 0x0128, 0x0131, 0x013C, 0x4746, 0x4749),
    *range(0x9C9B, 0x9CA0),
}
# Not where things are in the picture, as a crop has them elsewhere, nor pointers, nor notes
_ALL_DETAILS = (
    _SAFE_DETAIL_TEXTS
    | _SAFE_DETAIL_NUMBERS
    | {
        *(0x8824, _VERSION, 0x9203, 0x9206, 0x9208, 0x9286, *range(0x9400, 0x9406), 0xA20B),
        *(0xA217, 0xA300, 0xA301, 0xA401, 0xA404, *range(0xA406, 0xA40B), 0xA40C, 0xA420),
        *(*range(0xA430, 0xA43D), 0xA500),
    }
)
_ALL_PLACE = frozenset(range(0x20))


class TagsError(Exception):
    """A block of Exif makes no sense."""


@dataclass(frozen=True, slots=True)
class Picture:
    """What the samples of a TIFF are, of 8 bits each.

    Attributes:
        width, height: as it is stored, in pixels.
        samples: of a pixel: 1, grey, or 3, RGB.
        compression: 1, none, or 8, zlib's.
    """

    width: int
    height: int
    samples: int
    compression: int


@dataclass(frozen=True, slots=True)
class Tags:
    """Those that may go along with a picture.

    Attributes:
        order: of their bytes, `<` or `>`.
        main, details, place: by tag: of the first directory, of Exif's, of GPS's.
        complete: whether all that was asked for is there.
    """

    order: str
    main: Entries
    details: Entries
    place: Entries
    complete: bool

    def block(
        self, width: int, height: int, orientation: int = 1, *, calibrated: bool = True
    ) -> bytes:
        """A block of Exif, as a TIFF structure, for a picture that has these tags.

        Args:
            width, height: of the picture as it is stored, in pixels.
            orientation: EXIF 1-8, that it still needs to be shown by.
            calibrated: whether its colours are sRGB's, and no profile says others.
        """
        details = self._details(width, height, calibrated=calibrated)
        return self._written(b"", self.main | {ORIENTATION: self._numbers(orientation)}, details)

    def tiff(
        self, strip: bytes, picture: Picture, orientation: int, profile: bytes | None, xmp: bytes
    ) -> bytes:
        """A TIFF of one picture, which is a block of Exif with the picture in it (TIFF 6.0).

        Args:
            strip: the samples, compressed or not.
            picture: what they are.
            orientation: as for `block`.
            profile: the ICC profile, or None.
            xmp: a packet; empty for none.
        """
        main = self.main | {
            WIDTH: self._numbers(picture.width),
            HEIGHT: self._numbers(picture.height),
            BITS: self._numbers(*(8,) * picture.samples),
            COMPRESSION: self._numbers(picture.compression),
            PHOTOMETRIC: self._numbers(_RGB if picture.samples == 3 else _BLACK_IS_ZERO),
            STRIPS: self._numbers(_HEAD_BYTES),
            ORIENTATION: self._numbers(orientation),
            SAMPLES: self._numbers(picture.samples),
            ROWS_PER_STRIP: self._numbers(picture.height),
            STRIP_BYTES: self._numbers(len(strip)),
        }
        if profile is not None:
            main[_PROFILE] = _UNDEFINED, len(profile), profile
        if xmp:
            main[_XMP] = _BYTE, len(xmp), xmp
        sizes = picture.width, picture.height
        return self._written(strip, main, self._details(*sizes, calibrated=profile is None))

    def _details(self, width: int, height: int, *, calibrated: bool) -> Entries:
        return self.details | {
            _VERSION: self.details.get(_VERSION, (_UNDEFINED, 4, b"0232")),
            _COLOURS: self._numbers(_SRGB if calibrated else _UNCALIBRATED),
            _WIDTH: self._numbers(width),
            _HEIGHT: self._numbers(height),
        }

    def _numbers(self, *values: int) -> Entry:
        kind, code = (_SHORT, "H") if max(values) <= 0xFFFF else (_LONG, "I")
        return kind, len(values), struct.pack(f"{self.order}{len(values)}{code}", *values)

    def _pointer(self, value: int) -> Entry:
        return _LONG, 1, struct.pack(self.order + "I", value)

    def _written(self, strip: bytes, main: Entries, details: Entries) -> bytes:
        strip += b"\0" * (len(strip) % 2)
        at = _HEAD_BYTES + len(strip)
        pointers = [_DETAILS, _PLACE] if self.place else [_DETAILS]
        main = main | {pointer: self._pointer(0) for pointer in pointers}
        details_at = at + len(self._directory(at, main))
        written = self._directory(details_at, details)
        main[_DETAILS] = self._pointer(details_at)
        if self.place:
            place_at = details_at + len(written)
            main[_PLACE] = self._pointer(place_at)
            written += self._directory(place_at, self.place)
        head = struct.pack(self.order + "2sHI", b"II" if self.order == "<" else b"MM", 42, at)
        return b"".join([head, strip, self._directory(at, main), written])

    def _directory(self, at: int, entries: Entries) -> bytes:
        """A directory and its values, of even length, that stand `at` so many bytes."""
        rest_at, rest = at + 2 + 12 * len(entries) + 4, bytearray()
        written = [struct.pack(self.order + "H", len(entries))]
        for tag, (kind, count, raw) in sorted(entries.items()):
            value = raw.ljust(4, b"\0")
            if len(raw) > 4:
                value = struct.pack(self.order + "I", rest_at + len(rest))
                rest += raw + b"\0" * (len(raw) % 2)
            written.append(struct.pack(self.order + "HHI", tag, kind, count) + value)
        return b"".join([*written, bytes(4), rest])


NO_TAGS = Tags("<", {}, {}, {}, True)


def orientation_alone(orientation: int) -> bytes:
    """A block of Exif that says which way up a picture is, and nothing else."""
    entry = struct.pack("<HHIHH", ORIENTATION, _SHORT, 1, orientation, 0)
    return struct.pack("<2sHIH", b"II", 42, 8, 1) + entry + bytes(4)


def tags_of(block: bytes, level: Literal["safe", "all"]) -> Tags:
    """The tags of a TIFF structure that may go along.

    Args:
        block: an Exif block without a mark in front, or a TIFF.
        level: `safe` or `all`, as `CutSettings.metadata` has them.

    Raises:
        TagsError: it has no first directory.
    """
    first = next(pages(block), None)
    if first is None:
        raise TagsError("no directory")
    reading = _Reading(level)
    main = reading.entries(first, _SAFE_TEXTS if level == "safe" else _ALL)
    details = reading.entries(
        reading.child(first, _DETAILS),
        _SAFE_DETAIL_TEXTS | _SAFE_DETAIL_NUMBERS if level == "safe" else _ALL_DETAILS,
    )
    place: Entries = {}
    if level == "all":
        place = reading.entries(reading.child(first, _PLACE), _ALL_PLACE)
    return Tags(first.order, main, details, place, reading.complete)


class _Reading:
    """What is read of one block, which may lie about everything.

    Attributes:
        complete: whether nothing was left out that was asked for.
    """

    def __init__(self, level: Literal["safe", "all"]) -> None:
        self._checked = level == "safe"
        self._room = MOST_EXIF_BYTES - _MOST_VALUE_BYTES  # what we add, and directories
        self.complete = True

    def child(self, first: Directory, pointer: int) -> Directory | None:
        found = first.pointed_at(pointer)
        if found is None and pointer in first.entries:
            self.complete = False
        return found

    def entries(self, directory: Directory | None, wanted: frozenset[int] | set[int]) -> Entries:
        found: Entries = {}
        if directory is None:
            return found
        for tag, (kind, count, _) in directory.entries.items():
            if tag not in wanted or not count:
                continue
            raw = directory.raw(tag) if count <= _MOST_VALUE_BYTES else b""
            if self._fits(tag, kind, count, raw):
                found[tag] = kind, count, raw
                self._room -= len(raw) + 12
            else:
                self.complete = False
        return found

    def _fits(self, tag: int, kind: int, count: int, raw: bytes) -> bool:
        """Whether a value is of a type that it may have, all there, and not too much."""
        if kind not in _CLASSIC_TYPES or not 0 < len(raw) <= min(self._room, _MOST_VALUE_BYTES):
            return False
        if _JPEG in raw:
            return False
        if not self._checked:
            return True
        if tag in _SAFE_DETAIL_NUMBERS:
            return kind in _NUMBER_TYPES and count <= _MOST_NUMBERS
        return kind in _TEXT_TYPES and len(raw) <= _MOST_TEXT_BYTES

"""The largest picture that a camera's RAW file carries beside its sensor's data.

Cameras put JPEGs of several sizes into IFD0, SubIFDs, maker notes, headers and tracks, each maker
elsewhere. All of them are JPEGs that begin and end like any other, so they are looked for as such;
of files that are TIFFs, uncompressed previews count as well.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from detection.codecs import directories as tags
from detection.codecs.directories import Directory, pages
from detection.codecs.jpeg import LOSSLESS, START_OF_FRAME, picture, segments
from detection.codecs.sniff import CR3, ORF, RW2, Format, raw_name
from detection.errors import ImageError, ImageErrorCode, ImageWarning

SMALL = 2
"""A preview whose longer side is less than the photograph's over this is a thumbnail."""

_SMALL_SIDE = 1000  # pixels, where the photograph's size is not known
_DNG_VERSION, _MAKE = 50706, 271
_SENSOR_COLOURS = {32803, 34892}  # PhotometricInterpretation: CFA, LinearRaw (DNG 1.7)
# of Nikon, Sony, Pentax, Samsung, Kodak, Panasonic, Epson and Leaf
_SENSOR_COMPRESSIONS = {34713, 32767, 32769, 32770, 32772, 65000, 65535, 34316, 34826, 34828, 262}
# tags with the photograph's size in IFD0, where that is not of the preview
_SIZED = {CR3: (tags.WIDTH, tags.HEIGHT), ORF: (tags.WIDTH, tags.HEIGHT), RW2: (2, 3)}
_START = b"\xff\xd8\xff"
_MOST_FOUND = 64  # starts of a JPEG that are looked at: cameras store up to five
_HEAD = 1 << 20  # bytes: of a JPEG up to its frame
_CR3_HEAD = 1 << 16  # bytes: of a CR3 up to what its IFD0 says
_MOST_DIRECTORIES = 64  # that are looked at: RAW files have up to ten
_PLAIN_COMPRESSIONS = {1, 5, 7, 8}  # what Pillow reads of a preview that is no JPEG by itself
_JPEG_AT = 513  # JPEGInterchangeFormat


class _Jpeg(NamedTuple):
    at: int
    width: int
    height: int

    @property
    def pixels(self) -> int:
        return self.width * self.height


class Preview(NamedTuple):
    """A picture to take for the photograph.

    Attributes:
        data: a file of its own.
        format: what that is.
        orientation: EXIF 1-8 that the RAW says; None where it says none.
        warnings: that it is small.
    """

    data: bytes
    format: Format
    orientation: int | None
    warnings: set[ImageWarning]


def maker(data: bytes) -> str | None:
    """Which RAW format some bytes are; None where they are none.

    TIFFs are RAW files by what their directories hold.
    """
    head = data[:32]
    if name := raw_name(head):
        return name
    if head[:4] not in (b"II*\0", b"MM\0*"):
        return None
    if head[8:12] in (b"IIII", b"MMMM"):
        return "Phase One IIQ"
    if head[8:10] == b"CR":
        return "Canon CR2"
    directories = list(_directories(data))
    if any(_DNG_VERSION in one.entries for one in directories):
        return "DNG"
    if any(_is_sensors(one) for one in directories):
        make = directories[0].raw(_MAKE).split(b"\0")[0].decode("ascii", "replace").strip()
        return f"{make[:40]} RAW".strip()
    return None


def preview(data: bytes) -> Preview | None:
    """The largest readable picture in a RAW file; None where the file is none.

    Raises:
        ImageError: there is no readable picture in it.
    """
    name = maker(data)
    if name is None:
        return None
    at = data.find(b"CMT1", 0, _CR3_HEAD) if name == CR3 else -4  # its IFD0 has a box of its own
    directories = list(_directories(data[at + 4 : at + _CR3_HEAD] if at > 0 else data))
    sensors = [one for one in directories if _is_sensors(one)]
    plain = max(filter(_is_readable, directories), key=lambda one: one.pixels, default=None)
    jpeg = max(_jpegs(data, directories, sensors), key=lambda one: one.pixels, default=None)
    side = max(map(_side, sensors), default=0)
    if name in _SIZED and directories:
        side = max(directories[0].number(tag) for tag in _SIZED[name])
    turned = directories[0].number(tags.ORIENTATION) if directories else 0
    said = turned if 1 <= turned <= 8 else None
    if plain is not None and (jpeg is None or plain.pixels > jpeg.pixels):
        own = tags.ORIENTATION in plain.entries  # which its reader follows
        return Preview(plain.first(), "tiff", None if own else said, _small(_side(plain), side))
    clean = picture(data[jpeg.at :]) if jpeg else None
    if jpeg is None or clean is None:
        raise ImageError(
            ImageErrorCode.UNSUPPORTED_FORMAT,
            f"The format is {name}, of which the embedded preview is read, and there is none.",
        )
    return Preview(clean, "jpeg", said, _small(max(jpeg.width, jpeg.height), side))


def _small(side: int, whole: int) -> set[ImageWarning]:
    small = side * SMALL < whole if whole else side < _SMALL_SIDE
    return {ImageWarning.THUMBNAIL_ONLY} if small else set()


def _directories(data: bytes) -> Iterator[Directory]:
    return islice(_all_directories(data), _MOST_DIRECTORIES)


def _all_directories(data: bytes) -> Iterator[Directory]:
    for page in pages(data):
        yield page
        for child in page.children:
            yield child
            yield from child.children


def _is_sensors(directory: Directory) -> bool:
    compression = directory.number(tags.COMPRESSION)
    return (
        directory.number(tags.PHOTOMETRIC, -1) in _SENSOR_COLOURS
        or compression in _SENSOR_COMPRESSIONS
    )


def _is_readable(directory: Directory) -> bool:
    """Whether it is a picture of 8 bits that Pillow reads, and no sensor's."""
    return (
        not _is_sensors(directory)
        and directory.number(tags.COMPRESSION, 1) in _PLAIN_COMPRESSIONS
        and directory.number(tags.PHOTOMETRIC, -1) in (1, 2, 6)
        and set(directory.numbers(tags.BITS)) == {8}
        and directory.pixels > 0
        and (tags.STRIPS in directory.entries or tags.TILES in directory.entries)
    )


def _side(directory: Directory) -> int:
    return max(directory.number(tags.WIDTH), directory.number(tags.HEIGHT))


def _jpegs(data: bytes, directories: list[Directory], sensors: list[Directory]) -> Iterator[_Jpeg]:
    """The JPEGs that can be decoded: those that directories name, and those that nobody does."""
    named = (tags.STRIPS, tags.TILES)
    skipped = {int(at) for one in sensors for tag in named for at in one.numbers(tag)}
    for one in directories:
        for at in one.numbers(_JPEG_AT)[:1] + one.numbers(tags.STRIPS)[:1]:
            if at not in skipped and (found := _jpeg(data, int(at))):
                yield found
    at, looked = data.find(_START), 0
    while at >= 0 and looked < _MOST_FOUND:
        if at not in skipped:
            looked += 1
            if found := _jpeg(data, at):
                yield found
        at = data.find(_START, at + 1)


def _jpeg(data: bytes, at: int) -> _Jpeg | None:
    """The JPEG of 8-bit grey or colour that starts there; None for sensors' data and others."""
    head = data[at : at + _HEAD]
    if not head.startswith(_START):
        return None
    for marker, start, _ in segments(head):
        if marker in START_OF_FRAME:
            if marker in LOSSLESS or start + 6 > len(head):
                return None
            bits, height, width, components = struct.unpack_from(">BHHB", head, start)
            fits = bits == 8 and components in (1, 3) and height and width
            return _Jpeg(at, width, height) if fits else None
    return None

"""TIFFs: which of their pictures is the photograph, and samples that are not 8 bits (TIFF 6.0).

Pillow reads what is usual. Of other samples its libtiff only unpacks the bytes: a directory is put
behind the file that calls each row so many grey bytes, and what these mean is read here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detection.codecs import directories as tags
from detection.codecs.depth import Pixels, on_white, to_bytes
from detection.codecs.directories import Directory, pages, with_directory
from detection.errors import ImageError, ImageErrorCode, ImageWarning

Bytes = NDArray[np.uint8]
Samples = NDArray[Any]

_UNSIGNED, _SIGNED, _FLOAT = 1, 2, 3
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _CMYK = 0, 1, 2, 5
_COLOURS = {_WHITE_IS_ZERO: 1, _BLACK_IS_ZERO: 1, _RGB: 3, _CMYK: 4}
_PREMULTIPLIED, _ALPHA = 1, 2
_BYTES_APART = 2  # predictor: differences of samples; TIFF Technical Note 3 has that of floats
_FLOATS_APART = 3
_TYPES = {
    _UNSIGNED: {8: "u1", 16: "u2", 32: "u4", 64: "u8"},
    _SIGNED: {8: "i1", 16: "i2", 32: "i4", 64: "i8"},
    _FLOAT: {16: "f2", 32: "f4", 64: "f8"},
}
_MOST_PACKED_BITS = 31
_ROWS_AT_ONCE = 64
# what Pillow's libtiff unpacks
_UNPACKED = {1, 5, 8, 32773, 32946, 34925, 50000}
_READ = _UNPACKED | {2, 3, 4, 6, 7, 32771, 32809, 34676, 34677}
_NAMES = {
    33003: "JPEG 2000", 33005: "JPEG 2000", 34712: "JPEG 2000", 34887: "LERC", 34892: "lossy JPEG",
    34933: "PNG", 34934: "JPEG XR", 22610: "JPEG XR", 50001: "WebP", 50002: "JPEG XL",
    52546: "JPEG XL", 34661: "JBIG", 34663: "SPIFF JBIG", 32908: "PIXARFILM", 32909: "PixarLog",
}  # fmt: skip


class Photograph(NamedTuple):
    """The picture of a file that is wanted.

    Attributes:
        data: the file with that picture in front.
        pages: how many there are.
        orientation: EXIF 1-8 that the file's first directory says of it; None where it is that, or
            has its own.
    """

    data: bytes
    pages: int
    orientation: int | None


def photograph(data: bytes, number: int = 0) -> Photograph:
    """A page: pages are the pictures that do not call themselves small copies.

    Files may have a thumbnail in front, and the photograph on the next page or below the thumbnail
    (TIFF 6.0, NewSubfileType; TIFF Technical Note 1).

    Args:
        data: a TIFF.
        number: of the page, from 0.
    """
    front, wanted, count = None, None, 0
    for page in pages(data):
        front = front or page
        if not page.reduced:
            wanted = page if count == number else wanted
            count += 1
    if front is None:  # the reader says what is wrong
        return Photograph(data, 1, None)
    if wanted is None:
        below = [one for one in front.children if not one.reduced]
        wanted = max(below, key=lambda one: one.pixels, default=front)
    if wanted.at == front.at:
        return Photograph(data, max(1, count), None)
    turned = 0 if tags.ORIENTATION in wanted.entries else front.number(tags.ORIENTATION)
    return Photograph(wanted.first(), max(1, count), turned if 1 <= turned <= 8 else None)


@dataclass(frozen=True, slots=True)
class Deep:
    """A picture whose samples Pillow does not read, or reads as if all their bits were used.

    Attributes:
        directory: its own.
        width, height: as stored, in pixels.
        orientation: EXIF 1-8, still to be applied.
        samples: of a pixel, colours first.
        bits: of a sample.
        kind: of number: unsigned, signed or float (TIFF 6.0, SampleFormat).
        apart: whether each kind of sample has a plane of its own.
    """

    directory: Directory
    width: int
    height: int
    orientation: int
    samples: int
    bits: int
    kind: int
    apart: bool

    @property
    def colours(self) -> int:
        """Samples of a pixel that are not alpha."""
        return _COLOURS[self.directory.number(tags.PHOTOMETRIC)]


def deep(data: bytes, *, plain_too: bool = False) -> Deep | None:
    """The first picture of a file, if its samples are to be read here; None if by Pillow.

    Args:
        data: a TIFF.
        plain_too: also such as Pillow should read, as it does not.

    Raises:
        ImageError: nothing here reads it.
    """
    page = next(pages(data), None)
    if page is None or not page.pixels:
        return None
    compression, photometric = page.number(tags.COMPRESSION, 1), page.number(tags.PHOTOMETRIC, -1)
    if compression not in _READ:
        raise _unsupported(f"is compressed by {_NAMES.get(compression, f'method {compression}')}")
    count = page.number(tags.SAMPLES, 1)
    each = {int(one) for one in page.numbers(tags.BITS)} or {1}
    kinds = {int(one) for one in page.numbers(tags.SAMPLE_FORMAT)} or {_UNSIGNED}
    bits, kind = max(each), max(kinds)
    if kind == 4:  # undefined, which all take for unsigned
        kind = _UNSIGNED
    plain = kind == _UNSIGNED and (bits == 8 or (bits < 8 and count == 1))
    if len(each) == 1 and len(kinds) == 1 and plain and not plain_too:
        return None
    if compression not in _UNPACKED:
        if not plain_too:
            return None
        raise _unsupported(f"has samples of {bits} bits, compressed by method {compression}")
    if photometric not in _COLOURS or len(each) > 1 or len(kinds) > 1 or not _known(bits, kind):
        layout = f"bits {_listed(each)}, format {_listed(kinds)}, photometric {photometric}"
        raise _unsupported(f"has samples of a kind ({layout})")
    if not _COLOURS[photometric] <= count <= 16:
        raise _unsupported(f"has {count} samples a pixel, photometric {photometric}")
    turned = page.number(tags.ORIENTATION, 1)
    return Deep(
        page,
        page.number(tags.WIDTH),
        page.number(tags.HEIGHT),
        turned if 1 <= turned <= 8 else 1,
        count,
        bits,
        kind,
        page.number(tags.PLANAR, 1) == 2 and count > 1,
    )


def decode(
    picture: Deep, unpack: Callable[[bytes], Bytes]
) -> tuple[Pixels, bool, set[ImageWarning]]:
    """Read its samples.

    Args:
        picture: what `deep` has found.
        unpack: has a TIFF of 8-bit grey samples decoded, to (h, w).

    Returns:
        (h, w, 3) RGB, or (h, w, 4) CMYK, as stored; alpha is laid on white. Whether it is CMYK. And
        what is in doubt.
    """
    if picture.apart:
        planes = [_plane(picture, number, unpack) for number in range(picture.samples)]
        samples = np.concatenate(planes, axis=2)
        del planes
    else:
        samples = _plane(picture, 0, unpack)
    said = _range(picture, samples)
    pixels, guessed = to_bytes(samples[..., : picture.colours], picture.bits, said)
    directory = picture.directory
    if directory.number(tags.PHOTOMETRIC) == _WHITE_IS_ZERO:
        np.subtract(255, pixels, out=pixels)
    extra = directory.number(tags.EXTRA_SAMPLES)
    if picture.samples > picture.colours and extra in (_PREMULTIPLIED, _ALPHA):
        alpha, _ = to_bytes(samples[..., picture.colours], picture.bits, said)
        if alpha.any():  # else it hides all, which nobody means
            pixels = on_white(pixels, alpha, premultiplied=extra == _PREMULTIPLIED)
    if picture.colours == 1:
        pixels = np.repeat(pixels, 3, axis=2)
    doubts = {ImageWarning.BITS_GUESSED} if guessed else set()
    return pixels, picture.colours == 4, doubts


def _known(bits: int, kind: int) -> bool:
    packed = kind == _UNSIGNED and 0 < bits <= _MOST_PACKED_BITS
    return packed or bits in _TYPES.get(kind, {})


def _listed(values: set[int]) -> str:
    return " and ".join(str(one) for one in sorted(values))


def _unsupported(what: str) -> ImageError:
    return ImageError(ImageErrorCode.UNSUPPORTED_FORMAT, f"The TIFF {what}, which is not read.")


def _range(picture: Deep, samples: Samples) -> tuple[float, float] | None:
    """What the file says that its samples reach from and to; None where it says nothing of use.

    Of integers, all that their bits can hold is what many writers put there whatever is used.
    """
    directory = picture.directory
    least = directory.numbers(tags.LEAST_SAMPLE)
    most = directory.numbers(tags.MOST_SAMPLE) or directory.numbers(tags.MAX_VALUE)
    if not most:
        return None
    low, high = min(least, default=0), max(most)
    if not (math.isfinite(low) and math.isfinite(high)) or high <= 0:
        return None
    if picture.kind != _FLOAT and (
        high >= (1 << (picture.bits - (picture.kind == _SIGNED))) - 1 or samples.max() > high
    ):
        return None
    return min(low, 0), high


def _plane(picture: Deep, number: int, unpack: Callable[[bytes], Bytes]) -> Samples:
    """(h, w, n) samples of one plane."""
    each = 1 if picture.apart else picture.samples
    tile = picture.directory.number(tags.TILE_WIDTH)
    row_bytes, tile_bytes = (-(-side * each * picture.bits // 8) for side in (picture.width, tile))
    if tile:  # the last ones reach past the picture
        row_bytes = -(-picture.width // tile) * tile_bytes
    file = _as_grey_bytes(picture, number, row_bytes, tile_bytes)
    rows = unpack(file)
    if rows.shape != (picture.height, row_bytes):
        raise ValueError("its rows are not as long as its header says")
    predictor = picture.directory.number(tags.PREDICTOR, 1)
    if picture.directory.number(tags.COMPRESSION, 1) in (1, 32773):
        predictor = 1
    order = picture.directory.order
    if predictor == _FLOATS_APART and picture.kind == _FLOAT:
        rows = _floats_together(rows, tile_bytes or row_bytes, picture.bits // 8, each)
        order = ">"
    length = row_bytes * 8 // picture.bits if tile else picture.width * each
    samples = _numbers(rows, picture.bits, picture.kind, order, length)
    samples = samples[:, : picture.width * each].reshape(picture.height, picture.width, each)
    if predictor == _BYTES_APART:
        step = tile or picture.width
        samples = samples if samples.flags.writeable else samples.copy()
        for left in range(0, picture.width, step):
            some = samples[:, left : left + step]
            np.cumsum(some, axis=1, dtype=some.dtype, out=some)
    return samples


def _numbers(rows: Bytes, bits: int, kind: int, order: str, length: int) -> Samples:
    """(h, length) numbers of rows of bytes."""
    if bits in _TYPES[kind]:
        stored = np.ascontiguousarray(rows).view(order + _TYPES[kind][bits])
        return stored.astype(_TYPES[kind][bits], copy=False)
    numbers = np.empty((len(rows), length), np.uint16 if bits <= 16 else np.uint32)
    for row in range(0, len(rows), _ROWS_AT_ONCE):
        some = rows[row : row + _ROWS_AT_ONCE]
        if bits == 24 and order == "<":
            some = some.reshape(len(some), -1, 3)[..., ::-1].reshape(len(some), -1)
        ones = np.unpackbits(np.ascontiguousarray(some), axis=1, count=length * bits)
        ones = ones.reshape(len(some), length, bits)
        found = np.zeros((len(some), length), numbers.dtype)
        for bit in range(bits):
            found = (found << 1) | ones[..., bit]
        numbers[row : row + _ROWS_AT_ONCE] = found
    return numbers


def _floats_together(rows: Bytes, tile_bytes: int, size: int, each: int) -> Bytes:
    """Undo the predictor of floats: bytes of a kind together, and then differences of these."""
    done = np.empty_like(rows)
    for left in range(0, rows.shape[1], tile_bytes):
        some = rows[:, left : left + tile_bytes]
        height, width = some.shape
        summed = np.cumsum(some.reshape(height, -1, each), axis=1, dtype=np.uint8)
        together = summed.reshape(height, size, width // size).swapaxes(1, 2)
        done[:, left : left + width] = together.reshape(height, width)
    return done


def _as_grey_bytes(picture: Deep, plane: int, row_bytes: int, tile_bytes: int) -> bytes:
    """The file with a directory in front that calls the rows of a plane grey bytes.

    It is in Intel's byte order, whatever the file's is, as Pillow reads no other BigTIFF.
    """
    source = picture.directory
    values: dict[int, tuple[int, ...]] = {
        tags.WIDTH: (row_bytes,),
        tags.HEIGHT: (picture.height,),
        tags.BITS: (8,),
        tags.COMPRESSION: (source.number(tags.COMPRESSION, 1),),
        tags.PHOTOMETRIC: (_BLACK_IS_ZERO,),
        tags.FILL_ORDER: (source.number(tags.FILL_ORDER, 1),),
        tags.SAMPLES: (1,),
    }
    if tile_bytes:
        values[tags.TILE_WIDTH] = (tile_bytes,)
    for tag in (tags.ROWS_PER_STRIP, tags.TILE_HEIGHT):
        if tag in source.entries:
            values[tag] = (source.number(tag),)
    for tag in (tags.STRIPS, tags.STRIP_BYTES, tags.TILES, tags.TILE_BYTES):
        if found := source.numbers(tag):
            share = len(found) // picture.samples if picture.apart else len(found)
            values[tag] = tuple(int(one) for one in found[plane * share :][:share])
    return with_directory(source.data, source.big, values)

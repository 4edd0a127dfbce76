"""JPEGs by libjpeg-turbo (simplejpeg): whole or reduced, and whether all of them is there."""

from __future__ import annotations

from typing import cast

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from detection.codecs.damage import cut_short, damaged
from detection.codecs.jpeg import cut_off, is_lossy, picture, with_filler
from detection.errors import ImageWarning

Pixels = NDArray[np.uint8]

_READ = ("YCbCr", "Gray", "RGB")  # CMYK needs Pillow: Adobe's is inverted
# libjpeg's words for a marker before the last row, and for what stands behind that
_NOT_ALL = "premature end of data segment"
_BEHIND_ALL = "extraneous bytes before marker 0xd9"
_UNTOUCHED = 0x80, 0x7F  # what is in a buffer where nothing was decoded


def size_of(data: bytes) -> tuple[int, int] | None:
    """Height and width in pixels as they are stored; None where this cannot decode it."""
    try:
        height, width, space, _ = simplejpeg.decode_jpeg_header(data)
    except (ValueError, KeyError):  # stray bytes; a chroma sampling that has no name there
        return None
    # reduced, a lossless one would crash it
    return (height, width) if space in _READ and is_lossy(data) else None


def decode(
    data: bytes, height: int, width: int, reduction: int
) -> tuple[Pixels, bytes, set[ImageWarning]]:
    """All of a picture, as it is stored, at 1/`reduction` of its size.

    That all is there is judged by the decoder: files without an end marker are whole as often as
    they are cut short, and a film behind a picture that was cut has bytes like an end marker.

    Args:
        data: the file.
        height, width: as stored, in pixels.
        reduction: 1, 2, 4 or 8.

    Returns:
        (h, w, 3) uint8 BGR pixels; what of the file they are of, for `decode_top`; and what is in
        doubt.

    Raises:
        ImageError: rows are missing, or the data is damaged.
    """
    size = -(-height // reduction), -(-width // reduction)
    try:
        return _strictly(data, size), data, set()
    except ValueError:
        clean = picture(data)
    if clean is None:
        raise cut_short("jpeg")
    try:
        return _strictly(clean, size), clean, {_unclosed(data, clean)}
    except ValueError as error:  # it stops at the first that libjpeg warns of
        said = str(error)
    if _NOT_ALL in said:
        clean = picture(data, past_damage=True)
        if clean is None:
            raise cut_short("jpeg")
    # Most warnings are of what every viewer passes over. They do not say whether rows are missing,
    # but more data changes only those.
    pixels, other = (
        _anyhow(one, size, rest)
        for one, rest in zip((clean, with_filler(clean)), _UNTOUCHED, strict=True)
    )
    if _BEHIND_ALL in said:
        return pixels, clean, {ImageWarning.DATA_BEHIND_END}
    if not np.array_equal(pixels, other):
        raise cut_short("jpeg")
    return pixels, clean, {ImageWarning.DAMAGED_DATA}


def decode_top(data: bytes, rows: int, width: int, reduction: int) -> Pixels:
    """As `decode`, of the first rows of what that has given back.

    Raises:
        ImageError: the data is damaged.
    """
    size = -(-rows // reduction), -(-width // reduction)
    return _anyhow(cut_off(data, rows), size, _UNTOUCHED[0])


def _unclosed(data: bytes, clean: bytes) -> ImageWarning:
    """What was in the way of a picture that is whole without it."""
    return ImageWarning.DATA_BEHIND_END if len(data) > len(clean) else ImageWarning.END_MISSING


def _strictly(data: bytes, size: tuple[int, int]) -> Pixels:
    # the exact size that libjpeg gives at a reduction, so that it picks just that one
    pixels = simplejpeg.decode_jpeg(data, "BGR", min_height=size[0], min_width=size[1])
    return cast(Pixels, pixels)


def _anyhow(data: bytes, size: tuple[int, int], rest: int) -> Pixels:
    """What can be decoded; after a warning, an error may leave the rest as it was."""
    pixels = np.full((*size, 3), rest, np.uint8)
    try:
        simplejpeg.decode_jpeg(
            data, "BGR", min_height=size[0], min_width=size[1], buffer=pixels, strict=False
        )
    except ValueError as error:
        raise damaged("jpeg", error, size[0] * size[1]) from error
    return pixels

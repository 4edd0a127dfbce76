"""A crop that is turned, or lies between pixels: one warp from the pixels that were decoded."""

from __future__ import annotations

import math
from typing import cast

import cv2
import numpy as np

from detection.crop import Pixels
from detection.framing.frame import Frame, Similarity
from detection.geometry import Region
from detection.options import Border

_REACH = 4  # pixels beyond a frame, of the crop or of the eighth of a JPEG, that its filters take
_COARSEST = 8
_AS_FINE = 1 + 1e-6  # but for rounding


def needed(frame: Frame, width: int, height: int, border: Border) -> Region:
    """The part of an image of so many pixels whose pixels a crop is made of; may reach past it."""
    if frame.exact:
        x, y, side = frame.square
        return Region(x, y, x + side, y + side)
    left, top, right, bottom = frame.region(_REACH * (1 / frame.scale + _COARSEST))
    if border == "reflect":
        left, right = _mirrored(left, right, width)
        top, bottom = _mirrored(top, bottom, height)
    return Region(left, top, right, bottom)


def _mirrored(first: int, last: int, length: int) -> tuple[int, int]:
    """A range, made longer by what is mirrored into it at 0 and at `length`."""
    return min(first, 2 * length - last), max(last, -first)


def warp(
    pixels: Pixels,
    frame: Frame,
    from_image: Similarity,
    image: tuple[int, int],
    border: Border,
) -> Pixels:
    """The crop of a frame, as (h, w, 3) uint8 BGR.

    Where it has fewer pixels than there are, these are averaged by whole numbers until they are two
    to three times too many, warped linearly to twice the size of the crop, and averaged by two.
    Otherwise the warp is bicubic. A pattern of single pixels, the worst there is, is left with a
    standard deviation of up to 18 of 127 up to a turn of 20 degrees, as where the square is cut,
    and of up to 43 at 45 degrees.

    Args:
        pixels: (h, w, 3) uint8 BGR of the upright image, or of the part of it that is `needed`.
        frame: in pixels of the full image.
        from_image: from those to these pixels, as `Source.to_reduced` has it.
        image: width and height of the full image.
        border: what is past the image's border; for "color", see `painted`.
    """
    wanted = needed(frame, *image, border)
    ends = [from_image(complex(*wanted[:2])), from_image(complex(*wanted[2:]))]
    (left, right), (top, bottom) = (
        _clipped(*some, length)
        for some, length in (
            ((ends[0].real, ends[1].real), pixels.shape[1]),
            ((ends[0].imag, ends[1].imag), pixels.shape[0]),
        )
    )
    part = pixels[top:bottom, left:right]
    to_part = Similarity(1, -complex(left, top)).after(from_image)
    ratio = abs(to_part.linear) / frame.scale  # pixels that there are, a pixel of the crop
    finer = 2 if ratio > _AS_FINE else 1
    coarser = 1 << max(0, round(math.log2(ratio)) - 1)
    if coarser > 1:
        part = _averaged(part, coarser)
        to_part = Similarity(1 / coarser, 0).after(to_part)
    matrix = _between_centres(frame.similarity, to_part, finer)
    warped = cv2.warpAffine(
        part,
        matrix,
        (frame.width * finer, frame.height * finer),
        flags=cv2.INTER_LINEAR if finer > 1 else cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REFLECT if border == "reflect" else cv2.BORDER_REPLICATE,
    )
    if finer > 1:
        size = (frame.width, frame.height)
        warped = cv2.resize(warped, size, interpolation=cv2.INTER_AREA)
    return cast(Pixels, warped)


def painted(crop: Pixels, frame: Frame, width: int, height: int, color: str) -> Pixels:
    """A crop, (h, w, 3) uint8 BGR, with a colour where it lies past the image's border.

    Args:
        crop: in the colours that it is to be encoded in.
        frame: its own.
        width, height: of the full image.
        color: RGB in hexadecimal.
    """
    rows, columns = np.ogrid[: frame.height, : frame.width]
    to_crop, scale = frame.similarity, frame.scale
    start = to_crop.inverse(0.5 + 0.5j)
    right, down = 1 / to_crop.linear, 1j / to_crop.linear
    x = start.real + columns * right.real + rows * down.real
    y = start.imag + columns * right.imag + rows * down.imag
    inner = np.minimum(np.minimum(x, width - x), np.minimum(y, height - y))
    share = np.clip(inner * scale + 0.5, 0, 1)[..., None]  # of a pixel on the edge, that is inside
    paint = np.frombuffer(bytes.fromhex(color), np.uint8)[::-1]
    return cast(Pixels, np.rint(crop * share + paint * (1 - share)).astype(np.uint8))


def _clipped(first: float, last: float, length: int) -> tuple[int, int]:
    """A range in whole pixels that there are, one at least."""
    begin = min(max(math.floor(first), 0), length - 1)
    return begin, max(min(math.ceil(last), length), begin + 1)


def _averaged(part: Pixels, by: int) -> Pixels:
    """An image at a `by`-th of its size; what is missing to whole pixels is repeated."""
    height, width = part.shape[:2]
    missing = -height % by, -width % by
    if any(missing):
        edges = (0, missing[0], 0, missing[1])
        part = cast(Pixels, cv2.copyMakeBorder(part, *edges, cv2.BORDER_REPLICATE))
    size = (part.shape[1] // by, part.shape[0] // by)
    return cast(Pixels, cv2.resize(part, size, interpolation=cv2.INTER_AREA))


def _between_centres(to_crop: Similarity, to_part: Similarity, finer: int) -> cv2.typing.MatLike:
    """OpenCV's matrix from the pixels of a part to those of a crop, `finer` times as fine."""
    linear = to_crop.linear / to_part.linear
    offset = to_crop.offset - linear * to_part.offset
    linear, offset = linear * finer, offset * finer
    half = 0.5 + 0.5j
    offset += linear * half - half
    return np.array(
        [[linear.real, -linear.imag, offset.real], [linear.imag, linear.real, offset.imag]]
    )

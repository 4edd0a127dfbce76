"""A face's square out of an image, at the size asked for, and its encoding."""

from __future__ import annotations

import math
from typing import cast

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from detection.codecs.embed import embedded
from detection.codecs.metadata import NOTHING, Along
from detection.geometry import Square
from detection.options import ImageFormat

Pixels = NDArray[np.uint8]

_PNG_COMPRESSION = 3  # of 0-9: beyond it the time grows and the file hardly shrinks


def cut(
    pixels: Pixels, square: Square, scale: float, size: int, origin: tuple[int, int] = (0, 0)
) -> Pixels:
    """A `size` x `size` BGR crop.

    Args:
        pixels: (h, w, 3) uint8 BGR, the upright image at `scale` of its full size, or a part of it
            that holds all of the square that the image has.
        square: what to cut, in pixels of the full image.
        scale: size of the image that `pixels` are of, over its full size.
        size: side of the crop in pixels.
        origin: x and y of the first of `pixels` in that image.

    What of the square lies outside the image is filled with the border's pixels.
    """
    height, width = pixels.shape[:2]
    side = max(1, round(square.side * scale))
    left, top = round(square.x * scale) - origin[0], round(square.y * scale) - origin[1]
    x0, x1 = np.clip([left, left + side], 0, width)
    y0, y1 = np.clip([top, top + side], 0, height)
    if x0 == x1 or y0 == y1:
        raise ValueError(f"{square} lies outside the image.")
    part = pixels[y0:y1, x0:x1]
    if part.shape[:2] != (side, side):
        margins = (y0 - top, top + side - y1, x0 - left, left + side - x1)
        part = cast(Pixels, cv2.copyMakeBorder(part, *margins, cv2.BORDER_REPLICATE))
    if side > size:
        return _shrink(part, size)
    return cast(Pixels, cv2.resize(part, (size, size), interpolation=cv2.INTER_CUBIC))


def _shrink(part: Pixels, size: int) -> Pixels:
    """A square BGR image made smaller, without aliasing.

    Averaging over the area is the only one of OpenCV's filters that does not alias, and it is fast
    by whole numbers alone; so first linearly to the nearest size that is 2, 4, 8 times the wanted.
    """
    finer = size << max(1, round(math.log2(len(part) / size)))
    part = cast(Pixels, cv2.resize(part, (finer, finer), interpolation=cv2.INTER_LINEAR))
    return cast(Pixels, cv2.resize(part, (size, size), interpolation=cv2.INTER_AREA))


def encode(
    pixels: Pixels,
    image_format: ImageFormat,
    quality: int,
    profile: bytes | None = None,
    along: Along = NOTHING,
) -> bytes:
    """An image as a file.

    Args:
        pixels: (h, w, 3) uint8 BGR.
        image_format: of the file.
        quality: 1-100, for JPEG and WebP.
        profile: the ICC profile of the pixels, to be embedded.
        along: metadata, to be embedded.
    """
    return embedded(_encoded(pixels, image_format, quality), image_format, profile, along)


def _encoded(pixels: Pixels, image_format: ImageFormat, quality: int) -> bytes:
    if image_format == "jpg":
        return bytes(
            simplejpeg.encode_jpeg(
                np.ascontiguousarray(pixels), quality, "BGR", colorsubsampling="420"
            )
        )
    options = (
        [cv2.IMWRITE_PNG_COMPRESSION, _PNG_COMPRESSION]
        if image_format == "png"
        else [cv2.IMWRITE_WEBP_QUALITY, quality]
    )
    done, data = cv2.imencode(f".{image_format}", pixels, options)
    if not done:
        raise RuntimeError(f"OpenCV cannot write {image_format}.")
    return data.tobytes()

"""Image bytes to upright BGR pixels.

JPEGs, nearly all of what comes, go through libjpeg-turbo, which can decode to a half, a quarter or
an eighth of the size for less than the whole costs. All else goes through Pillow.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from types import ModuleType
from typing import TypeVar, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from detection.codecs import turbo
from detection.codecs.damage import cut_short, damaged
from detection.codecs.exif import orientation
from detection.codecs.jpeg import coefficient_bytes, picture
from detection.codecs.sniff import Format, jpeg_start, sniff
from detection.codecs.unread import unread_format
from detection.codecs.webp import webp_size, with_true_length
from detection.errors import ImageError, ImageErrorCode, ImageWarning
from detection.framing.frame import Similarity
from detection.geometry import Region
from detection.options import JPEG_TIMES, MEMORY_MIB

REDUCTIONS = (8, 4, 2, 1)
"""Denominators of JPEG decoding. Others (M/8) are possible but slower than the next finer one."""

_SMALL_PIXELS = 16_000_000  # that whatever decodes them has memory for
_BGR_BYTES = 3  # a pixel
_WHOLE_BYTES = 24  # a pixel with alpha, in all of Pillow's and our copies
_OTHER_BYTES = 64 << 20  # what detecting and cutting take besides
_MOST_PIXELS = 1_000_000_000  # that the setting takes
_PNG_HEADER_BYTES = 33  # the signature and the IHDR chunk, whose first two words are the size
_TRANSPOSED = 5  # from here up the stored rows are the upright image's columns
_LEFT_RIGHT, _TOP_BOTTOM, _BOTH = 1, 0, -1  # of `cv2.flip`
_FLIPS = {
    2: _LEFT_RIGHT, 3: _BOTH, 4: _TOP_BOTTOM, 6: _LEFT_RIGHT, 7: _BOTH, 8: _TOP_BOTTOM,
}  # fmt: skip
_INVERSE = {6: 8, 8: 6}  # all others undo themselves
_UNIT = 32  # rows: no JPEG is coded in higher units
_DOWN, _UP, _RIGHT, _LEFT = range(4)
_TOWARDS = {
    1: _DOWN, 2: _DOWN, 3: _UP, 4: _UP, 5: _RIGHT, 6: _LEFT, 7: _LEFT, 8: _RIGHT,
}  # fmt: skip
"""By EXIF orientation, where in the upright image the stored rows go from the first to the last."""

_bound_lifted = False

Pixels = NDArray[np.uint8]
Samples = NDArray[np.uint8] | NDArray[np.uint16]
_AnyPixels = TypeVar("_AnyPixels", Pixels, Samples)


@dataclass(slots=True)
class Source:
    """An image that was opened, its header read, and no pixel decoded yet.

    Attributes:
        data: the file's bytes; of a JPEG that is not in order, what its picture is of.
        format: what they are.
        width, height: of the upright full image, in pixels.
        orientation: EXIF 1-8, still to be applied to decoded pixels.
        reducible: whether `decode` can give a reduced size for less work.
        spare_bytes: memory for its pixels and what its decoder keeps.
        pages: pictures in the file; None where its format has but one.
        warnings: what was done with a doubt so far; `decode` adds to it.
    """

    data: bytes
    format: Format
    width: int
    height: int
    orientation: int
    reducible: bool
    spare_bytes: int
    pages: int | None = None
    warnings: set[ImageWarning] = field(default_factory=set)

    @classmethod
    def open(
        cls,
        data: bytes | memoryview,
        max_pixels: int,
        memory_mib: int = MEMORY_MIB,
        page: int = 0,
        *,
        full: bool = False,
    ) -> Source:
        """Read the header.

        Args:
            data: a whole image file.
            max_pixels: bound on width times height; nothing larger is ever decoded. JPEGs that
                can be reduced may have `JPEG_TIMES` as many.
            memory_mib: that the image may take. A JPEG is reduced until it fits.
            page: of a TIFF, from 0.
            full: whether it will be decoded at its full size, so that no JPEG may be larger.

        Raises:
            ImageError: no image, a kind that is not read here, damaged, or too large.
        """
        if not len(data):
            raise ImageError(ImageErrorCode.EMPTY_FILE, "The file has no bytes.")
        kind = sniff(data)
        if kind is None:
            raise _unread(data)
        whole = bytes(data)
        if kind == "webp":  # Pillow makes room for all of its pixels when it opens one
            _refuse_more(*webp_size(whole), max_pixels, memory_mib)
            whole = with_true_length(whole)
        said, pages, doubts = None, None, set[ImageWarning]()
        if kind in ("tiff", "raw"):
            whole, kind, said, pages, doubts = _of_several(whole, page)
        if kind == "jpeg":
            whole = whole[jpeg_start(whole) :]
        if kind == "png":
            whole, wrong = _without_wrong_chunks(whole)
            doubts |= {ImageWarning.DAMAGED_DATA} if wrong else set()
        if kind == "jpeg" and turbo.size_of(whole) is None:
            whole = picture(whole) or whole
        width, height, turned, reducible = _header(whole, kind)
        turned = said or turned
        times = JPEG_TIMES if reducible and not full else 1
        _refuse_more(width, height, max_pixels, memory_mib, times)
        if turned >= _TRANSPOSED:
            width, height = height, width
        spare = (memory_mib << 20) - 2 * len(whole) - _OTHER_BYTES
        source = cls(whole, kind, width, height, turned, reducible, spare, pages, doubts)
        source._refuse_too_much(memory_mib)
        return source

    def reduction_for(self, share: float) -> int:
        """The strongest reduction that keeps at least `share` of the full size, for crops.

        Where there is no memory for it, the finest that there is memory for, which is a doubt.
        """
        step = self.reduction_within_memory(share)
        if step > 1 and step * share > 1:
            self.warnings.add(ImageWarning.COARSE_CROPS)
        return step

    def reduction_within_memory(self, share: float) -> int:
        """As `reduction_for`, for what may be coarser and is no doubt."""
        if not self.reducible:
            return 1
        wanted = next(step for step in REDUCTIONS if step == 1 or 1 / step >= share)
        if self.width * self.height <= _SMALL_PIXELS:
            return wanted
        for step in reversed(REDUCTIONS):
            if step >= wanted and self._bytes(step) <= self.spare_bytes:
                break
        return step

    def _bytes(self, reduction: int) -> int:
        """What a JPEG takes at most, decoded at 1/`reduction` of its size and turned upright."""
        pixels = -(-self.width // reduction) * -(-self.height // reduction)
        copies = 1 + (self.orientation in _FLIPS) + (self.orientation >= _TRANSPOSED)
        return coefficient_bytes(self.data) + _BGR_BYTES * pixels * copies

    def _refuse_too_much(self, memory_mib: int) -> None:
        if not self.reducible or self.width * self.height <= _SMALL_PIXELS:
            return
        missing = self._bytes(REDUCTIONS[0]) - self.spare_bytes
        if missing > 0:
            enough = memory_mib + (missing >> 20) + 1
            raise ImageError(
                ImageErrorCode.TOO_MUCH_MEMORY,
                f"This JPEG of {self.width} x {self.height} pixels is coded in several scans and "
                f"needs more than the {memory_mib} MiB of memory allowed (limits.image_mib): "
                f"--limits-image-mib {enough} would do.",
            )

    def decode(self, reduction: int = 1) -> Pixels:
        """Upright (h, w, 3) uint8 BGR pixels, at 1/`reduction` of the size, rounded up.

        Alpha is laid on white; a GIF or an animation gives its first frame.

        Raises:
            ImageError: the data is damaged, cut short, or of a kind that is not read here.
        """
        if self.reducible:
            pixels, self.data, doubts = turbo.decode(self.data, *self.stored, reduction)
            self.warnings.update(doubts)
        else:
            pixels = _pillow().decode(self.data, self.format, self.warnings)
            if pixels.shape[:2] != self.stored:
                (high, wide), (height, width) = self.stored, pixels.shape[:2]
                said = f"it says that it has {wide} x {high} pixels, and has {width} x {height}"
                raise damaged(self.format, ValueError(said), 0)
        return turned_upright(pixels, self.orientation)

    def decode_around(self, region: Region, reduction: int) -> tuple[Pixels, tuple[int, int]]:
        """As `decode`, but perhaps only a part of the image, which holds the region.

        JPEGs are stored row by row, and nothing below the last row that is wanted is decoded.

        Args:
            region: in pixels of the upright full image; may reach past its edge.
            reduction: a power of two up to 8.

        Returns:
            Pixels, within the region the same as those of the whole; and x and y of the first of
            them in the whole.
        """
        height, width = self.stored
        rows = height
        if self.reducible:
            last = (
                region.bottom,
                self.height - region.top,
                region.right,
                self.width - region.left,
            )[_TOWARDS[self.orientation]]
            rows = min(height, (max(0, last) // _UNIT + 2) * _UNIT)
        if rows == height:
            return self.decode(reduction), (0, 0)
        pixels = turbo.decode_top(self.data, rows, width, reduction)
        missing = -(-height // reduction) - len(pixels)
        x, y = ((0, 0), (0, missing), (0, 0), (missing, 0))[_TOWARDS[self.orientation]]
        return turned_upright(pixels, self.orientation), (x, y)

    def to_reduced(self, reduction: int, origin: tuple[int, int] = (0, 0)) -> Similarity:
        """From pixels of the full image to those that `decode` gives, or `decode_around`.

        Reduced sizes are rounded up, at the right and at the bottom of what is stored, and an
        orientation may have put that at the left or at the top.

        Args:
            reduction: as it was decoded.
            origin: as `decode_around` gave it.
        """
        flip = _FLIPS.get(self.orientation)
        left = -self.width % reduction if flip in (_LEFT_RIGHT, _BOTH) else 0
        top = -self.height % reduction if flip in (_TOP_BOTTOM, _BOTH) else 0
        return Similarity(1 / reduction, complex(left, top) / reduction - complex(*origin))

    @property
    def stored(self) -> tuple[int, int]:
        """Height and width as they are stored, in pixels."""
        if self.orientation >= _TRANSPOSED:
            return self.width, self.height
        return self.height, self.width


def lift_pillows_bound() -> None:
    """Have this process, which is ours alone, keep to `max_pixels` and not to Pillow's own bound.

    Elsewhere that is for the program to set: `PIL.Image.MAX_IMAGE_PIXELS` counts for all of it.
    """
    global _bound_lifted
    _bound_lifted = True


def _pillow() -> ModuleType:
    """`detection.codecs.pillow`, imported for the first image that is no plain JPEG."""
    from detection.codecs import pillow

    if _bound_lifted:
        pillow.lift_bound()
    return pillow


def _refuse_more(width: int, height: int, max_pixels: int, memory_mib: int, times: int = 1) -> None:
    pixels = width * height
    if pixels <= max_pixels * times:
        return
    enough, needed_mib = -(-pixels // times), pixels * _WHOLE_BYTES >> 20
    advice = f": --limits-max-pixels {enough}"
    if times == 1 and needed_mib > memory_mib:
        advice += f" and --limits-image-mib {needed_mib}"
    raise ImageError(
        ImageErrorCode.TOO_MANY_PIXELS,
        f"{width} x {height} pixels are more than the {max_pixels * times:,} allowed "
        f"(limits.max_pixels){advice + ' would do' if enough <= _MOST_PIXELS else ''}.",
    )


def _unread(data: bytes | memoryview) -> ImageError:
    if name := unread_format(data):
        return ImageError(
            ImageErrorCode.UNSUPPORTED_FORMAT, f"The file is {name}, which Facecrop does not read."
        )
    return ImageError(ImageErrorCode.NOT_AN_IMAGE, "The file does not begin like any image format.")


def _of_several(
    data: bytes, page: int
) -> tuple[bytes, Format, int | None, int | None, set[ImageWarning]]:
    """Of a TIFF or a RAW file the photograph: as a file, its format, orientation, pages, doubts."""
    from detection.codecs import raw, tiff

    if found := raw.preview(data):
        return found.data, found.format, found.orientation, None, found.warnings
    data, pages, said = tiff.photograph(data, page)
    return data, "tiff", said, pages, {ImageWarning.FIRST_PAGE_OF_N} if pages > 1 else set()


def _without_wrong_chunks(data: bytes) -> tuple[bytes, bool]:
    from detection.codecs.png import mended

    return mended(data)


def _header(data: bytes, kind: Format) -> tuple[int, int, int, bool]:
    """Stored width and height, orientation, and whether libjpeg-turbo can decode it."""
    if kind == "jpeg" and (stored := turbo.size_of(data)):
        height, width = stored
        return width, height, orientation(data, kind), True
    if kind == "png":  # Pillow would decode all of it, looking for Exif behind the pixels
        if len(data) < _PNG_HEADER_BYTES:
            raise cut_short(kind)
        return *struct.unpack_from(">II", data, 16), orientation(data, kind), False
    width, height, turned = _pillow().header(data, kind)
    if kind in ("jpeg", "webp"):
        turned = orientation(data, kind)
    return width, height, turned, False


def turned_back(pixels: _AnyPixels, orientation: int) -> _AnyPixels:
    """Upright pixels as an image of an EXIF orientation stores them."""
    return turned_upright(pixels, _INVERSE.get(orientation, orientation))


def turned_upright(pixels: _AnyPixels, orientation: int) -> _AnyPixels:
    """Undo an EXIF orientation (Exif 2.32, 4.6.4, tag 0x0112) of pixels of any depth."""
    if orientation >= _TRANSPOSED:
        pixels = cast(_AnyPixels, cv2.transpose(pixels))
    if orientation in _FLIPS:
        pixels = cast(_AnyPixels, cv2.flip(pixels, _FLIPS[orientation]))
    return pixels

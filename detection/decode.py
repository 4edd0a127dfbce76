"""Image bytes to upright BGR pixels.

JPEGs, nearly all of what comes, go through libjpeg-turbo (simplejpeg), which can decode to a half,
a quarter or an eighth of the size for less than the whole costs. All else goes through Pillow.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from io import BytesIO
from typing import cast

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from detection.errors import ImageError, ImageErrorCode
from detection.exif import UPRIGHT, jpeg_orientation, png_orientation
from detection.geometry import Region
from detection.jpeg import cut_off, has_end
from detection.sniff import Format, sniff

try:
    import pillow_heif
except ImportError:
    HEIC = False
else:
    pillow_heif.register_heif_opener()
    HEIC = True

# `Source.open` bounds pixels itself, by a setting; Pillow's own bound would only get there first.
Image.MAX_IMAGE_PIXELS = None

REDUCTIONS = (8, 4, 2, 1)
"""Denominators of JPEG decoding. Others (M/8) are possible but slower than the next finer one."""

_PILLOW = {
    "jpeg": "JPEG", "png": "PNG", "webp": "WEBP", "tiff": "TIFF",
    "bmp": "BMP", "gif": "GIF", "avif": "AVIF", "heic": "HEIF",
}  # fmt: skip
# What Pillow's readers raise for data that makes no sense.
_PILLOW_ERRORS = (
    AssertionError,
    EOFError,
    IndexError,
    KeyError,
    OSError,
    OverflowError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    ZeroDivisionError,
    struct.error,
)
_EXIF_ORIENTATION = 0x0112
_PNG_HEADER_BYTES = 33  # the signature and the IHDR chunk, whose first two words are the size
_WHITE = 255
_TRANSPOSED = 5  # from here up the stored rows are the upright image's columns
_UNIT = 32  # rows: no JPEG is coded in higher units
_DOWN, _UP, _RIGHT, _LEFT = range(4)
_TOWARDS = {
    1: _DOWN, 2: _DOWN, 3: _UP, 4: _UP, 5: _RIGHT, 6: _LEFT, 7: _LEFT, 8: _RIGHT,
}  # fmt: skip
"""By EXIF orientation, where in the upright image the stored rows go from the first to the last."""

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Source:
    """An image that was opened, its header read, and no pixel decoded yet.

    Attributes:
        data: the file's bytes.
        format: what they are.
        width, height: of the upright full image, in pixels.
        orientation: EXIF 1-8, still to be applied to decoded pixels.
        reducible: whether `decode` can give a reduced size for less work.
    """

    data: bytes
    format: Format
    width: int
    height: int
    orientation: int
    reducible: bool

    @classmethod
    def open(cls, data: bytes | memoryview, max_pixels: int) -> Source:
        """Reads the header.

        Args:
            data: a whole image file.
            max_pixels: bound on width times height; nothing larger is ever decoded.

        Raises:
            ImageError: no image, a kind that is not read here, damaged, or too large.
        """
        if not len(data):
            raise ImageError(ImageErrorCode.EMPTY_FILE, "The file has no bytes.")
        kind = sniff(data)
        if kind is None:
            raise ImageError(
                ImageErrorCode.NOT_AN_IMAGE, "The file does not begin like any image format."
            )
        if kind == "heic" and not HEIC:
            raise ImageError(
                ImageErrorCode.UNSUPPORTED_FORMAT,
                "HEIC is read only where `pillow-heif` is installed: pip install 'facecrop[heic]'.",
            )
        whole = bytes(data)
        if kind == "webp":  # Pillow makes room for all of its pixels when it opens one
            _refuse_more(*_webp_size(whole), max_pixels)
        width, height, orientation, reducible = _header(whole, kind)
        _refuse_more(width, height, max_pixels)
        if orientation >= _TRANSPOSED:
            width, height = height, width
        return cls(whole, kind, width, height, orientation, reducible)

    def reduction_for(self, share: float) -> int:
        """The strongest reduction that keeps at least `share` of the full size."""
        if not self.reducible:
            return 1
        return next(step for step in REDUCTIONS if step == 1 or 1 / step >= share)

    def decode(self, reduction: int = 1) -> Pixels:
        """Upright (h, w, 3) uint8 BGR pixels, at 1/`reduction` of the size, rounded up.

        Alpha is laid on white; a GIF or an animation gives its first frame.

        Raises:
            ImageError: the data is damaged, cut short, or of a kind that is not read here.
        """
        if self.reducible:
            pixels = _decode_jpeg(self.data, *self._stored, reduction)
        else:
            pixels = _decode_with_pillow(self.data, self.format)
        return _upright(pixels, self.orientation)

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
        height, width = self._stored
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
        pixels = _decode_jpeg(cut_off(self.data, rows), rows, width, reduction)
        missing = -(-height // reduction) - len(pixels)
        x, y = ((0, 0), (0, missing), (0, 0), (missing, 0))[_TOWARDS[self.orientation]]
        return _upright(pixels, self.orientation), (x, y)

    @property
    def _stored(self) -> tuple[int, int]:
        """Height and width as they are stored."""
        if self.orientation >= _TRANSPOSED:
            return self.width, self.height
        return self.height, self.width


def _refuse_more(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise ImageError(
            ImageErrorCode.TOO_MANY_PIXELS,
            f"{width} x {height} pixels are more than the {max_pixels:,} allowed "
            "(limits.max_pixels).",
        )


def _webp_size(data: bytes) -> tuple[int, int]:
    """Width and height as the first chunk states them (RFC 9649, 2.5 to 2.7); 0, 0 for none."""
    kind, fields = data[12:16], data[20:30].ljust(10, b"\0")
    if kind == b"VP8X":
        return 1 + int.from_bytes(fields[4:7], "little"), 1 + int.from_bytes(fields[7:], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(fields[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", fields, 6)
        return width & 0x3FFF, height & 0x3FFF
    return 0, 0


def _header(data: bytes, kind: Format) -> tuple[int, int, int, bool]:
    """Stored width and height, orientation, and whether libjpeg-turbo can decode it."""
    if kind == "jpeg":
        try:
            height, width, space, _ = simplejpeg.decode_jpeg_header(data)
        except ValueError:
            pass  # a chroma sampling that TurboJPEG has no name for; Pillow reads those
        else:
            if space in ("YCbCr", "Gray", "RGB"):  # CMYK needs Pillow: Adobe's is inverted
                return width, height, jpeg_orientation(data), True
    if kind == "png":  # Pillow would decode all of it, looking for Exif behind the pixels
        if len(data) < _PNG_HEADER_BYTES:
            raise _cut_short(kind)
        return *struct.unpack_from(">II", data, 16), png_orientation(data), False
    with _pillow(data, kind) as image:
        width, height = image.size
        if kind == "tiff":  # Pillow turns these itself, and gives the size of the turned image
            orientation = UPRIGHT
        else:
            orientation = _pillow_orientation(image)
    return width, height, orientation, False


def _pillow_orientation(image: Image.Image) -> int:
    try:
        orientation = image.getexif().get(_EXIF_ORIENTATION)
    except _PILLOW_ERRORS:  # the Exif block is damaged; the picture need not be
        return UPRIGHT
    return orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else UPRIGHT


def _decode_jpeg(data: bytes, height: int, width: int, reduction: int) -> Pixels:
    if not has_end(data):
        raise _cut_short("jpeg")
    try:
        # Not strict: libjpeg's warnings are mostly about harmless bytes that cameras leave between
        # segments, and every viewer shows such photographs.
        pixels = simplejpeg.decode_jpeg(
            data,
            "BGR",
            strict=False,
            # the exact size that libjpeg gives at 1/reduction, so that it picks just that one
            min_height=-(-height // reduction),
            min_width=-(-width // reduction),
        )
    except ValueError as error:
        if "Insufficient memory" in str(error):  # libjpeg's words, for a progressive JPEG
            raise MemoryError from error
        raise _damaged("jpeg", error) from error
    return cast(Pixels, pixels)


def _decode_with_pillow(data: bytes, kind: Format) -> Pixels:
    with _pillow(data, kind) as image:
        try:
            image.load()
            rgb = _as_rgb(image)
        except _PILLOW_ERRORS as error:
            raise _damaged(kind, error) from error
    return cast(Pixels, cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))


def _pillow(data: bytes, kind: Format) -> Image.Image:
    try:
        return Image.open(BytesIO(data), formats=[_PILLOW[kind]])
    except _PILLOW_ERRORS as error:
        raise _damaged(kind, error) from error


def _as_rgb(image: Image.Image) -> Pixels:
    """(h, w, 3) uint8 RGB of a loaded image of any mode."""
    if image.mode.startswith("I;16"):
        return _grey_to_rgb((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode == "I":  # 32-bit integers carry 16-bit samples in every format read here
        return _grey_to_rgb((np.clip(np.asarray(image), 0, 0xFFFF) >> 8).astype(np.uint8))
    if image.mode == "F":  # floats are 0 to 1 by convention, or else hold 8-bit values
        values = np.nan_to_num(np.asarray(image))
        scale = 255 if values.max(initial=0) <= 1 else 1
        return _grey_to_rgb(np.clip(values * scale, 0, 255).astype(np.uint8))
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        ground = Image.new("RGBA", rgba.size, (_WHITE, _WHITE, _WHITE, _WHITE))
        return np.asarray(Image.alpha_composite(ground, rgba).convert("RGB"))
    return np.asarray(image.convert("RGB"))


def _grey_to_rgb(grey: Pixels) -> Pixels:
    return cast(Pixels, cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB))


def _upright(pixels: Pixels, orientation: int) -> Pixels:
    """Undoes an EXIF orientation (Exif 2.32, 4.6.4, tag 0x0112)."""
    if orientation == 2:
        return cast(Pixels, cv2.flip(pixels, 1))
    if orientation == 3:
        return cast(Pixels, cv2.rotate(pixels, cv2.ROTATE_180))
    if orientation == 4:
        return cast(Pixels, cv2.flip(pixels, 0))
    if orientation == 5:
        return cast(Pixels, cv2.transpose(pixels))
    if orientation == 6:
        return cast(Pixels, cv2.rotate(pixels, cv2.ROTATE_90_CLOCKWISE))
    if orientation == 7:
        return cast(Pixels, cv2.flip(cv2.transpose(pixels), -1))
    if orientation == 8:
        return cast(Pixels, cv2.rotate(pixels, cv2.ROTATE_90_COUNTERCLOCKWISE))
    return pixels


def _damaged(kind: Format, error: Exception) -> ImageError:
    reason = " ".join(str(error).split()).rstrip(".")
    if "truncated" in reason.lower():
        return _cut_short(kind)
    if isinstance(error, UnidentifiedImageError):  # its text holds a memory address
        reason = "its header makes no sense, or is of a kind that is not read here"
    return ImageError(
        ImageErrorCode.CORRUPT_IMAGE,
        f"The {kind.upper()} is damaged: {reason or 'no more is known'}.",
    )


def _cut_short(kind: Format) -> ImageError:
    return ImageError(
        ImageErrorCode.TRUNCATED_IMAGE,
        f"The {kind.upper()} ends before its picture does: it was cut short.",
    )

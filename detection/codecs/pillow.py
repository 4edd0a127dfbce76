"""Images that Pillow decodes: all but plain JPEGs. Imported when there is one."""

from __future__ import annotations

import struct
from functools import cache
from importlib import import_module
from io import BytesIO
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from detection.codecs import bmp, cms, png, tiff
from detection.codecs.chunks import without_png_chunks
from detection.codecs.colour import stated_profile
from detection.codecs.damage import cut_short, damaged
from detection.codecs.depth import on_white, to_bytes
from detection.codecs.exif import UPRIGHT
from detection.codecs.icc import ProfileError
from detection.codecs.isobmff import unread_coding
from detection.codecs.jpeg import unread_process, with_filler
from detection.codecs.sniff import Format
from detection.codecs.webp import webp_size
from detection.errors import ImageError, ImageErrorCode, ImageWarning

Pixels = NDArray[np.uint8]

_PLUGINS = {
    "jpeg": "Jpeg", "png": "Png", "webp": "WebP", "tiff": "Tiff",
    "bmp": "Bmp", "gif": "Gif", "avif": "Avif", "jpeg2000": "Jpeg2K", "psd": "Psd", "ppm": "Ppm",
    "tga": "Tga", "pcx": "Pcx", "sgi": "Sgi", "qoi": "Qoi",
}  # fmt: skip
# What Pillow's readers raise for data that makes no sense.
_ERRORS = (
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
_BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)
_EXIF_ORIENTATION = 0x0112
_WHITE = 255
_FRAMES_LOOKED_AT = 16


def lift_bound() -> None:
    """Take Pillow's bound on pixels away, for all of this process."""
    Image.MAX_IMAGE_PIXELS = None


def header(data: bytes, kind: Format) -> tuple[int, int, int]:
    """Stored width and height in pixels, and the EXIF orientation, 1-8, still to be applied.

    Raises:
        ImageError: the data is damaged, or of a kind that is not read here.
    """
    if kind == "tiff" and (picture := _deep(data)):
        return picture.width, picture.height, picture.orientation
    if kind == "bmp" and (bitmap := bmp.masked(data)):
        return bitmap.width, bitmap.height, UPRIGHT
    with _opened(data, kind) as image:
        width, height = image.size
        if kind == "tiff":  # Pillow turns these itself, and gives the size of the turned image
            return width, height, UPRIGHT
        return width, height, _orientation(image)


def decode(data: bytes, kind: Format, doubts: set[ImageWarning]) -> Pixels:
    """(h, w, 3) uint8 BGR pixels as they are stored; alpha is laid on white.

    Args:
        data: the file.
        kind: its format.
        doubts: what is in doubt about it is added.

    Raises:
        ImageError: the data is damaged, cut short, or of a kind that is not read here.
    """
    if kind == "tiff" and (picture := _deep(data)):
        return _of_deep(picture, data, doubts)
    rgb = _rgb(data, kind, doubts)
    # Pillow does not say whether rows are missing; more data would change only those.
    if kind == "jpeg" and not np.array_equal(rgb, _rgb(with_filler(data), kind, doubts)):
        raise cut_short(kind)
    return cast(Pixels, cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))


def metadata(data: bytes, kind: Format) -> tuple[bytes, bytes]:
    """Exif and XMP of a file, as they stand there; empty where there is none.

    Raises:
        ImageError: as `header`.
    """
    with _opened(data, kind) as image:
        found = (image.info.get(name) for name in ("exif", "xmp"))
        exif, xmp = (one if isinstance(one, bytes) else b"" for one in found)
        return exif, xmp


def _deep(data: bytes) -> tiff.Deep | None:
    """A TIFF whose samples are read by `tiff`; None where Pillow reads it, or says why not."""
    if found := tiff.deep(data):
        return found
    plugin = _loaded_plugin("tiff")
    try:
        Image.open(BytesIO(data), formats=[plugin]).close()
    except UnidentifiedImageError:
        return tiff.deep(data, plain_too=True)
    except (*_ERRORS, *_BOMBS):
        return None
    return None


def _of_deep(picture: tiff.Deep, data: bytes, doubts: set[ImageWarning]) -> Pixels:
    def unpack(file: bytes) -> Pixels:
        with _opened(file, "tiff") as image:
            image.load()
            return np.asarray(image)

    try:
        pixels, is_cmyk, more = tiff.decode(picture, unpack)
    except _BOMBS as error:
        raise _too_many_pixels(error) from error
    except _ERRORS as error:
        raise damaged("tiff", error, picture.width * picture.height) from error
    doubts |= more
    if is_cmyk:
        image = Image.fromarray(pixels, "CMYK")
        pixels = np.asarray(_from_other_colours(image, data, "tiff", doubts))
    return cast(Pixels, cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))


def _rgb(data: bytes, kind: Format, doubts: set[ImageWarning]) -> Pixels:
    if kind == "bmp" and (bitmap := bmp.masked(data)):
        try:
            rgba = bmp.decode(data, bitmap)
        except ValueError as error:
            raise damaged(kind, error, 0) from error
        return _laid_on_white(rgba) if bitmap.masks[3] and rgba[..., 3].any() else rgba[..., :3]
    with _opened(data, kind) as image:
        try:
            image.load()
            if image.mode in ("CMYK", "LAB"):
                return np.asarray(_from_other_colours(image, data, kind, doubts))
            if kind == "png" and (rgb := _of_faint_png(data, image, doubts)) is not None:
                return rgb
            return _first_not_blank(image, _as_rgb(image))
        except _BOMBS as error:
            raise _too_many_pixels(error) from error
        except _ERRORS as error:
            raise _unreadable(data, kind, error, image.width * image.height) from error


def _of_faint_png(data: bytes, image: Image.Image, doubts: set[ImageWarning]) -> Pixels | None:
    """RGB of samples of 16 bits that use a few; None where they use most, or are of 8 bits."""
    extremes = image.getextrema()
    if image.mode == "I;16":
        faint = png.is_faint(data, [extremes], 16)
    else:
        bands = len(image.mode.removesuffix("A"))
        faint = image.mode in ("RGB", "RGBA", "LA") and png.is_faint(data, extremes[:bands], 8)
    if not faint:
        return None
    # Pillow leaves of a colour's 16 bits the upper half
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if decoded is None or decoded.dtype != np.uint16:
        return None
    samples: tiff.Samples = np.atleast_3d(decoded)
    colours = samples[..., :3]
    pixels, guessed = to_bytes(colours, 16, png.range_said(data, int(colours.max())))
    if guessed:
        doubts.add(ImageWarning.BITS_GUESSED)
    if samples.shape[2] == 4:
        pixels = on_white(pixels, (samples[..., 3] >> 8).astype(np.uint8), premultiplied=False)
    return _grey_to_rgb(pixels) if pixels.shape[2] == 1 else pixels[..., ::-1]


def _first_not_blank(image: Image.Image, rgb: Pixels) -> Pixels:
    """The first frame of an animation that is not all of one colour; else the first of all."""
    shown = rgb
    for number in range(1, _FRAMES_LOOKED_AT):
        if (shown != shown[0, 0]).any():
            return shown
        if not getattr(image, "is_animated", False):
            break
        try:
            image.seek(number)
            if image.size != (rgb.shape[1], rgb.shape[0]):
                break  # a GIF's frame that reaches past the canvas makes that larger
            shown = _as_rgb(image)
        except _ERRORS:  # the last one was before it, or it is damaged
            break
    return rgb


def _opened(data: bytes, kind: Format) -> Image.Image:
    plugin = _loaded_plugin(kind)
    if kind == "png":  # Pillow refuses a picture for a profile that is odd, which it is not asked
        data = without_png_chunks(data, b"iCCP")
    try:
        return Image.open(BytesIO(data), formats=[plugin])
    except _BOMBS as error:
        raise _too_many_pixels(error) from error
    except _ERRORS as error:
        width, height = webp_size(data) if kind == "webp" else (0, 0)
        if isinstance(error, UnidentifiedImageError):  # its text holds a memory address
            error = ValueError("its header makes no sense, or is of a kind that is not read here")
        raise _unreadable(data, kind, error, width * height) from error


def _unreadable(data: bytes, kind: Format, error: Exception, pixels: int) -> Exception:
    if kind == "jpeg" and (process := unread_process(data)):
        message = f"The JPEG is {process}, which is not read."
        return ImageError(ImageErrorCode.UNSUPPORTED_FORMAT, message)
    if kind == "heic" and (coding := unread_coding(data)):
        message = f"The file is HEIF, {coding}, which is not read."
        return ImageError(ImageErrorCode.UNSUPPORTED_FORMAT, message)
    return damaged(kind, error, pixels)


@cache
def _loaded_plugin(kind: Format) -> str:
    """Pillow's name for a format, whose reader is imported: Pillow by itself imports all it has."""
    if kind == "heic":
        import pi_heif

        # its own registration takes files by their first brand alone
        Image.register_open("HEIC", pi_heif.HeifImageFile)
        return "HEIC"
    import_module(f"PIL.{_PLUGINS[kind]}ImagePlugin")
    return kind.upper()


def _too_many_pixels(error: Exception) -> ImageError:
    """The program that crops has a bound of its own."""
    reason = str(error).partition(",")[0]
    return ImageError(ImageErrorCode.TOO_MANY_PIXELS, f"{reason} (PIL.Image.MAX_IMAGE_PIXELS).")


def _orientation(image: Image.Image) -> int:
    try:
        orientation = image.getexif().get(_EXIF_ORIENTATION)
    except _ERRORS:  # the Exif block is damaged; the picture need not be
        return UPRIGHT
    return orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else UPRIGHT


def _from_other_colours(
    image: Image.Image, data: bytes, kind: Format, doubts: set[ImageWarning]
) -> Image.Image:
    """CMYK by its profile where it has one, L*a*b* by what it means: in RGB, of sRGB's colours."""
    if image.mode == "LAB":
        return cms.lab_to_srgb().apply(image)
    try:
        if profile := stated_profile(data, kind):
            return cms.to_srgb(profile, image.mode).apply(image)
    except ProfileError:
        doubts.add(ImageWarning.COLOUR_PROFILE_UNKNOWN)
    return image.convert("RGB")


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
        return _laid_on_white(image.convert("RGBA"))
    return np.asarray(image.convert("RGB"))


def _laid_on_white(rgba: Image.Image | Pixels) -> Pixels:
    if isinstance(rgba, np.ndarray):
        rgba = Image.fromarray(rgba, "RGBA")
    ground = Image.new("RGBA", rgba.size, (_WHITE, _WHITE, _WHITE, _WHITE))
    return np.asarray(Image.alpha_composite(ground, rgba).convert("RGB"))


def _grey_to_rgb(grey: Pixels) -> Pixels:
    return cast(Pixels, cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB))

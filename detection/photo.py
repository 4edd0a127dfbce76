"""A photograph with its faces covered, written as it came: its format, quality, size, colours.

One without a face keeps its coded picture byte for byte where its format is written here; what else
stood in the file is gone, or rewritten, by the rule for metadata. Pixels stay as they are stored,
and the orientation with them: it is the one thing that goes along in any case.
"""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from typing import cast

import cv2
import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from detection.codecs.bare import bare, is_animated, with_colours_of
from detection.codecs.colour import stated_profile
from detection.codecs.decode import Samples, Source, turned_back, turned_upright
from detection.codecs.directories import BITS, COMPRESSION, EXTRA_SAMPLES, PHOTOMETRIC, pages
from detection.codecs.embed import embedded
from detection.codecs.icc import ProfileError, space
from detection.codecs.metadata import Along, Carried
from detection.codecs.sniff import Format, sniff
from detection.codecs.tags import Picture
from detection.cover import cover_faces
from detection.decoded import Decoded
from detection.errors import ImageError, ImageErrorCode, ImageWarning
from detection.options import Cover, PhotoFormat

FORMATS: dict[Format, PhotoFormat] = {"jpeg": "jpg", "png": "png", "webp": "webp", "tiff": "tif"}
"""What is written as it came."""

_LOSSY = {"heic", "avif", "jpeg2000"}  # become JPEGs; all others PNGs
_LOSSLESS_WEBP = 101  # OpenCV's quality for it
_SAMPLING = (0, 1, 2)  # Pillow's names for 4:4:4, 4:2:2, 4:2:0; others become the first
_NONE, _ZLIB = 1, 8  # TIFF 6.0, Compression, and its supplement 2
_GREYS, _RGB = (0, 1), 2  # PhotometricInterpretation
_ZLIB_LEVEL = 3  # isal's highest
_MOST_BITS = 8


@dataclass(frozen=True, slots=True)
class Photo:
    """A photograph to be published.

    Attributes:
        data: the file.
        format: its format.
    """

    data: bytes
    format: PhotoFormat


class PhotoWriter:
    """One photograph, decoded once, on its way to a file.

    Args:
        data: the file as it was handed in.
        image: the same, opened; its warnings are told what is written otherwise than it came.
        quality: 1-100, where the photograph's own cannot be told.
        carried: what of its metadata goes along.
    """

    def __init__(
        self, data: bytes | memoryview, image: Decoded, quality: int, carried: Carried
    ) -> None:
        self._image = image
        self._source = image.source
        self._quality = quality
        self._carried = carried
        came = sniff(data)
        self._format = FORMATS.get(self._source.format) or (
            "jpg" if self._source.format in _LOSSY else "png"
        )
        if came is None or FORMATS.get(came) != self._format:
            self._converted()

    def photo(self, boxes: NDArray[np.float32], how: Cover, memory_mib: int) -> Photo:
        """The photograph with its faces covered.

        Args:
            boxes: (n, 4) x, y, w, h of the faces, in pixels of the upright full image.
            how: what is put in their place.
            memory_mib: that the image may take, for the message where that is too little.

        Raises:
            ImageError: it cannot be decoded at its full size.
        """
        if not len(boxes) and (found := self._as_it_is()):
            return Photo(found, self._format)
        pixels = self._full(memory_mib)
        cover_faces(pixels, boxes, how)
        return Photo(self._written(turned_back(pixels, self._source.orientation)), self._format)

    def _as_it_is(self) -> bytes | None:
        """The coded picture in a file of our own; None where it has to be coded again."""
        source = self._source
        if ImageWarning.DAMAGED_DATA in source.warnings:
            return None
        picture = bare(source.data, source.format)
        if picture is None:
            return None
        # a PNG keeps what it says of its colours, chunk by chunk
        profile = None if self._format == "png" else self._profile("RGB", "GRAY", "CMYK")
        return self._with_all(picture, profile)

    def _full(self, memory_mib: int) -> Samples:
        """Upright pixels of the full size, with depth and alpha where that is written here."""
        source = self._source
        if source.format in ("png", "webp") and not is_animated(source.data, source.format):
            file = np.frombuffer(source.data, np.uint8)
            native = cv2.imdecode(file, cv2.IMREAD_UNCHANGED)
            if native is not None and native.shape[:2] == source.stored:
                return turned_upright(cast(Samples, native), source.orientation)
        if source.format in FORMATS and _loses(source):
            self._converted()
        pixels = self._image.at(1)
        if self._image.reduction != 1:
            raise ImageError(
                ImageErrorCode.TOO_MUCH_MEMORY,
                f"To be written again it needs more than the {memory_mib} MiB of memory allowed "
                "(limits.image_mib).",
            )
        return pixels

    def _written(self, pixels: Samples) -> bytes:
        """The file of pixels as they are stored."""
        # what has inks or L*a*b* was converted when it was decoded
        source, profile = self._source, self._profile("RGB", "GRAY")
        if profile is not None and space(profile) == "GRAY" and pixels.ndim == 3:
            pixels = cast(Samples, np.ascontiguousarray(pixels[..., 0]))  # the three are the same
        if self._format == "jpg":
            return self._with_all(_jpeg(source, pixels, self._quality), profile)
        if self._format == "tif":
            return self._tiff(pixels, profile)
        quality = _LOSSLESS_WEBP if source.data[12:16] == b"VP8L" else self._quality
        options = [] if self._format == "png" else [cv2.IMWRITE_WEBP_QUALITY, quality]
        done, data = cv2.imencode(f".{self._format}", pixels, options)
        if not done:
            raise RuntimeError(f"OpenCV cannot write {self._format}.")
        file = data.tobytes()
        if self._format == "png" and source.format == "png":
            file, profile = with_colours_of(file, source.data), None
        return self._with_all(file, profile)

    def _tiff(self, pixels: Samples, profile: bytes | None) -> bytes:
        """Of 8 bits, without loss, compressed where the photograph was."""
        first = next(pages(self._source.data), None)
        plain = first is not None and first.number(COMPRESSION, _NONE) == _NONE
        if first is not None and first.number(PHOTOMETRIC, _RGB) in _GREYS and pixels.ndim == 3:
            pixels = cast(Samples, np.ascontiguousarray(pixels[..., 0]))  # the three are the same
        if pixels.ndim == 3:
            pixels = cast(Samples, cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB))
        height, width = pixels.shape[:2]
        samples = 3 if pixels.ndim == 3 else 1
        strip = pixels.tobytes() if plain else isal_zlib.compress(pixels, _ZLIB_LEVEL)
        picture = Picture(width, height, samples, _NONE if plain else _ZLIB)
        return self._carried.tiff(strip, picture, self._source.orientation, profile)

    def _with_all(self, file: bytes, profile: bytes | None) -> bytes:
        assert self._format != "tif"
        return embedded(file, self._format, profile, self._along(profile))

    def _along(self, profile: bytes | None) -> Along:
        (high, wide), turn = self._source.stored, self._source.orientation
        return self._carried.along(wide, high, turn, profile=profile is not None)

    def _profile(self, *kinds: str) -> bytes | None:
        """The one that the file states, where it is of one of these kinds of colours."""
        try:
            profile = stated_profile(self._source.data, self._source.format)
            return profile if profile and space(profile) in kinds else None
        except ProfileError:
            self._source.warnings.add(ImageWarning.COLOUR_PROFILE_UNKNOWN)
            return None

    def _converted(self) -> None:
        self._source.warnings.add(ImageWarning.CONVERTED)


def _loses(source: Source) -> bool:
    """Whether something of it is lost when it is decoded to 8 bits of three colours."""
    if source.format == "jpeg":
        return not source.reducible
    if source.format != "tiff":
        return True
    first = next(pages(source.data), None)
    if first is None or EXTRA_SAMPLES in first.entries:
        return True
    return any(bits > _MOST_BITS for bits in first.numbers(BITS))


def _jpeg(source: Source, pixels: Samples, quality: int) -> bytes:
    """With the tables and the sampling of the photograph, where that is a JPEG, too."""
    from PIL import Image, JpegImagePlugin

    options: dict[str, object] = {"quality": quality, "subsampling": 0}
    grey = pixels.ndim == 2
    if source.format == "jpeg" and (picture := bare(source.data, "jpeg")):
        with JpegImagePlugin.JpegImageFile(BytesIO(picture)) as image:
            sampling = JpegImagePlugin.get_sampling(image)
            options = {"subsampling": sampling if sampling in _SAMPLING else 0}
            tables = image.quantization
            options |= {"qtables": tables} if _are_bytes(tables) else {"quality": quality}
            grey |= image.mode == "L"
    if grey:
        made = Image.fromarray(pixels if pixels.ndim == 2 else pixels[..., 0])
    else:
        made = Image.fromarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB))
    sink = BytesIO()
    made.save(sink, "JPEG", **options)
    return sink.getvalue()


def _are_bytes(tables: dict[int, list[int]]) -> bool:
    """Whether a baseline JPEG can have such tables of quantization."""
    numbered = [*tables] in ([0], [0, 1], [0, 1, 2])
    return numbered and all(1 <= one <= 255 for table in tables.values() for one in table)

"""Images that lie, made by code: each with what has to become of it."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

from PIL import Image

from detection.errors import ImageErrorCode as Code
from tests.detection.test_decode import (
    huge_bmp,
    huge_gif,
    huge_jpeg,
    huge_png,
    huge_tiff,
    png_chunk,
)
from tests.detection.test_exif import tiff
from tests.hostile.archives import zeros_deflated
from tests.pictures import astronaut, encoded

MIB = 1 << 20
MAX_PIXELS = 16_000_000
"""Bound on pixels for which the outcomes below hold."""

Make = Callable[[], bytes]


@dataclass(frozen=True)
class Hostile:
    """An image.

    Attributes:
        make: gives its bytes.
        outcomes: of the errors it may end with; None stands for a picture. More than one where
            the versions of a decoder differ.
    """

    make: Make
    outcomes: tuple[Code | None, ...]


IMAGES: dict[str, Hostile] = {}


def _of(name: str, make: Make, *outcomes: Code | None) -> None:
    IMAGES[name] = Hostile(make, outcomes)


SMALL = astronaut(128)
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_UNREAD = Code.UNSUPPORTED_FORMAT
_CORRUPT, _CUT, _LARGE = Code.CORRUPT_IMAGE, Code.TRUNCATED_IMAGE, Code.TOO_MANY_PIXELS


@cache
def small(image_format: str, **options: Any) -> bytes:
    """A small good picture of that format."""
    return encoded(SMALL, image_format, **options)


def _patched(data: bytes, mark: bytes, offset: int, fields: bytes) -> bytes:
    """With `fields` written so many bytes behind the first `mark`."""
    at = data.index(mark) + offset
    return data[:at] + fields + data[at + len(fields) :]


# --- PNG ------------------------------------------------------------------------------------------


def _png(width: int, height: int, depth: int, color: int, *chunks: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    return _SIGNATURE + png_chunk(b"IHDR", header) + b"".join(chunks) + png_chunk(b"IEND", b"")


def _zeros(size: int) -> bytes:
    """So many zeros, deflated."""
    deflater = zlib.compressobj(9)
    piece = bytes(MIB)
    whole = b"".join(deflater.compress(piece) for _ in range(size // MIB))
    return whole + deflater.compress(bytes(size % MIB)) + deflater.flush()


def _png_of_zeros(width: int, height: int, depth: int, color: int) -> bytes:
    channels = {0: 1, 2: 3, 6: 4}[color]
    row = 1 + -(-width * channels * depth // 8)
    return _png(width, height, depth, color, png_chunk(b"IDAT", _zeros(row * height)))


def _with_chunk(*chunks: bytes) -> bytes:
    """A good PNG with chunks behind its header."""
    data = small("PNG")
    return data[:33] + b"".join(chunks) + data[33:]


def _bomb(mib: int) -> bytes:
    """Zeros, a multiple of 16 MiB, deflated in no time; but for the checksum at their end."""
    return b"\x78\xda" + zeros_deflated(mib * MIB)


_of("PNG of 50,000 x 50,000", huge_png, _LARGE)
_of("PNG of 2^31 x 2^31", lambda: _png(2**31 - 1, 2**31 - 1, 8, 2), _LARGE)
_of("PNG of 0 x 0", lambda: _png(0, 0, 8, 2), _CORRUPT)
_of("PNG of one bit, 9 megapixels of zeros", partial(_png_of_zeros, 3000, 3000, 1, 0), None)
_of(
    "PNG of 64 bits, 16 megapixels of zeros",
    partial(_png_of_zeros, 4000, 4000, 16, 6),
    Code.TOO_MUCH_MEMORY,
)
_of("PNG of one row", partial(_png_of_zeros, 9_000_000, 1, 8, 0), None)
_of("PNG of one column", partial(_png_of_zeros, 1, 1_000_000, 8, 0), None)
_of(
    "PNG whose pixels inflate to 1 GiB",
    lambda: _png(99, 99, 8, 2, png_chunk(b"IDAT", _bomb(1024))),
    None,
)
_of(
    "PNG with fewer pixels than it declares",
    lambda: _png(999, 999, 8, 2, png_chunk(b"IDAT", _zeros(999))),
    _CUT,
    _CORRUPT,
)
_of("PNG without pixels", lambda: _png(99, 99, 8, 2), _CUT, _CORRUPT)
_of(
    "PNG with a text of 256 MiB",
    lambda: _with_chunk(png_chunk(b"zTXt", b"a\0\0" + _bomb(256))),
    _CORRUPT,
)
_of(
    "PNG with 100 texts of 1 MiB",
    lambda: _with_chunk(png_chunk(b"zTXt", b"a\0\0" + _zeros(MIB - 9)) * 100),
    _CORRUPT,
)
_of(
    "PNG with a profile of 256 MiB",
    lambda: _with_chunk(png_chunk(b"iCCP", b"a\0\0" + _bomb(256))),
    None,
)
_of(
    "PNG with a profile that is none",
    lambda: _with_chunk(png_chunk(b"iCCP", b"a\0\0profile")),
    None,
)
_of("PNG with a chunk of 2 GiB", lambda: _with_chunk(b"\x7f\xff\xff\xffeXIf"), _CORRUPT, _CUT)
_of("PNG with 50,000 empty chunks", lambda: _with_chunk(png_chunk(b"teSt", b"") * 50_000), None)
_of("PNG with a wrong checksum", lambda: _patched(small("PNG"), b"IHDR", 17, b"\0\0\0\0"), _CORRUPT)
_of("PNG of 2^32 frames", lambda: _with_chunk(png_chunk(b"acTL", b"\xff" * 4 + bytes(4))), None)
_of(
    "PNG without its palette",
    lambda: _png(9, 9, 8, 3, png_chunk(b"IDAT", _zeros(90))),
    None,
    _CORRUPT,
)

# --- TIFF -----------------------------------------------------------------------------------------

_SHORT, _LONG = 3, 4


def _tiff_with(*tags: tuple[int, int, int, int], compression: str = "raw") -> bytes:
    """A good TIFF with entries (tag, type, count, value) in place of its own."""
    image = SMALL.convert("L")
    data = bytearray(encoded(image, "TIFF", compression=compression))
    (directory,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, directory)
    entries = [
        struct.unpack_from("<HHII", data, directory + 2 + 12 * number) for number in range(count)
    ]
    wanted = {entry[0]: entry for entry in [*entries, *tags]}
    rows = b"".join(struct.pack("<HHII", *wanted[tag]) for tag in sorted(wanted))
    data[4:8] = struct.pack("<I", len(data))
    return bytes(data) + struct.pack("<H", len(wanted)) + rows + bytes(4)


def _tiff_of_entries(count: int, size: int) -> bytes:
    """A directory of so many entries, each of which declares the whole file as its value."""
    rows = b"".join(struct.pack("<HHII", 40_000 + n, 1, size, 0) for n in range(count))
    data = b"II*\0" + struct.pack("<IH", 8, count) + rows + bytes(4)
    return data + bytes(size - len(data))


def _tiff_of_zeros(side: int) -> bytes:
    return encoded(Image.new("RGB", (side, side)), "TIFF", compression="tiff_adobe_deflate")


_of("TIFF of 50,000 x 50,000", huge_tiff, _LARGE)
_of(
    "TIFF of 2^32 x 2^32",
    lambda: _tiff_with((256, _LONG, 1, 2**32 - 1), (257, _LONG, 1, 2**32 - 1)),
    _LARGE,
    _CORRUPT,
)
_of("TIFF of 9 megapixels of zeros", partial(_tiff_of_zeros, 3000), None)
_of("TIFF of 0 x 0", lambda: _tiff_with((256, _LONG, 1, 0), (257, _LONG, 1, 0)), _CORRUPT)
_of(
    "TIFF with tiles of 2^31",
    lambda: _tiff_with(
        (322, _LONG, 1, 2**31 - 16),
        (323, _LONG, 1, 2**31 - 16),
        (324, _LONG, 1, 8),
        (325, _LONG, 1, 99),
        compression="tiff_lzw",
    ),
    _CORRUPT,
    Code.TOO_MUCH_MEMORY,
)
_of(
    "TIFF with a strip beyond the file",
    lambda: _tiff_with((273, _LONG, 1, 2**32 - 1)),
    _CORRUPT,
    _CUT,
)
_of(
    "TIFF with a strip of 4 GiB",
    lambda: _tiff_with((279, _LONG, 1, 2**32 - 1), compression="tiff_lzw"),
    _CORRUPT,
    _CUT,
    None,
)
_of("TIFF with 2^32 strips", lambda: _tiff_with((273, _LONG, 2**32 - 1, 8)), _CORRUPT, _CUT)
_of("TIFF with rows of none", lambda: _tiff_with((278, _LONG, 1, 0)), None, _CORRUPT)
_of("TIFF with 65,535 samples", lambda: _tiff_with((277, _SHORT, 1, 65_535)), _UNREAD)
_of("TIFF with 65,535 bits", lambda: _tiff_with((258, _SHORT, 1, 65_535)), _UNREAD)
_of(
    "TIFF whose directory is its own next",
    lambda: b"II*\0" + struct.pack("<IHI", 8, 0, 8),
    _CORRUPT,
)
_of(
    "TIFF whose directory is beyond it",
    lambda: b"II*\0\xff\xff\xff\xff" + bytes(99),
    _CORRUPT,
    _CUT,
)
_of(
    "TIFF with a directory entry 1,000 times the file",
    lambda: _tiff_of_entries(1000, MIB),
    _CORRUPT,
    Code.TOO_MUCH_MEMORY,
)
_of(
    "BigTIFF with offsets of 2^63",
    lambda: b"II+\0\x08\0\0\0" + struct.pack("<Q", 2**63),
    _CORRUPT,
    _CUT,
)

# --- WebP -----------------------------------------------------------------------------------------


def _webp_canvas(width: int, height: int) -> bytes:
    size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return _patched(_animation("WEBP", 2), b"VP8X", 12, size)


@cache
def _animation(image_format: str, count: int) -> bytes:
    colors = [(97 * n % 256, n // 256, 255 * (n % 2)) for n in range(count)]
    frames = [Image.new("RGB", (16, 16), color) for color in colors]
    return encoded(frames[0], image_format, save_all=True, append_images=frames[1:])


def _webp_with(kind: bytes, content: bytes, size: int | None = None) -> bytes:
    """A good WebP whose last chunk declares another size than it has."""
    data = small("WEBP", exif=tiff("<", 1))
    begin = data.index(b"EXIF")
    size = len(content) if size is None else size
    data = data[:begin] + kind + struct.pack("<I", size) + content
    return data[:4] + struct.pack("<I", len(data) - 8) + data[8:]


_of("WebP of 50,000 x 50,000", lambda: _webp_canvas(50_000, 50_000), _LARGE)
_of("WebP of 2^24 x 255", lambda: _webp_canvas(1 << 24, 255), _LARGE)
_of("WebP of 2^24 x 2^24", lambda: _webp_canvas(1 << 24, 1 << 24), _LARGE)
_of(
    "WebP of 9 megapixels around a small picture",
    lambda: _webp_canvas(3000, 3000),
    None,
    Code.TOO_MUCH_MEMORY,
)
_of(
    "WebP, lossy, of 16,383 x 16,383",
    lambda: _patched(small("WEBP"), b"\x9d\x01\x2a", 3, b"\xff\x3f\xff\x3f"),
    _LARGE,
)
_of(
    "WebP, lossy, larger than its picture",
    lambda: _patched(small("WEBP"), b"\x9d\x01\x2a", 3, b"\0\x08\0\x08"),
    _CORRUPT,
)
_of(
    "WebP, lossless, of 16,384 x 16,384",
    lambda: _patched(small("WEBP", lossless=True), b"VP8L", 9, b"\xff\xff\xff\x0f"),
    _LARGE,
)
_of("WebP of 1,000 frames", partial(_animation, "WEBP", 1000), None)
_of(
    "WebP whose frame leaves its canvas",
    lambda: _patched(_animation("WEBP", 2), b"ANMF", 8, b"\xff\xff\xff\xff\xff\xff"),
    _CORRUPT,
)
_of(
    "WebP of 4 GiB",
    lambda: _patched(small("WEBP"), b"RIFF", 4, b"\xfe\xff\xff\xff"),
    None,  # its chunks say where it ends
)
_of("WebP with an EXIF of 4 GiB", lambda: _webp_with(b"EXIF", b"II*\0", 0xFFFFFFF0), _CORRUPT, None)
_of("WebP with an EXIF that is none", lambda: _webp_with(b"EXIF", b"no TIFF!"), None, _CORRUPT)

# --- AVIF, HEIC -----------------------------------------------------------------------------------


def _isobmff(image_format: str, mark: bytes, offset: int, fields: bytes) -> bytes:
    options = {"quality": 50} | ({"speed": 10} if image_format == "AVIF" else {})
    return _patched(small(image_format, **options), mark, offset, fields)


def _avif_that_is_larger_than_it_says() -> bytes:
    large = encoded(Image.new("RGB", (3000, 3000)), "AVIF", speed=10)
    return _patched(large, b"ispe", 8, struct.pack(">II", 64, 64))


for _format in ("AVIF", "HEIF"):
    for _side in (50_000, 16_384, 2**32 - 1):
        _of(
            f"{_format} of {_side} x {_side}",
            partial(_isobmff, _format, b"ispe", 8, struct.pack(">II", _side, _side)),
            _LARGE,
            _CORRUPT,
        )
    _of(
        f"{_format} of 3,000 x 3,000 around a small picture",
        partial(_isobmff, _format, b"ispe", 8, struct.pack(">II", 3000, 3000)),
        None,
        _CORRUPT,
    )
    _of(f"{_format} of 0 x 0", partial(_isobmff, _format, b"ispe", 8, bytes(8)), _CORRUPT)
    _of(
        f"{_format} with a box of 4 GiB",
        partial(_isobmff, _format, b"meta", -4, b"\xff" * 4),
        _CORRUPT,
    )
    _of(
        f"{_format} with a box of no bytes",
        partial(_isobmff, _format, b"iprp", -4, bytes(4)),
        _CORRUPT,
        None,
    )
    _of(
        f"{_format} with its picture elsewhere",
        partial(_isobmff, _format, b"iloc", 18, b"\x7f" * 4),
        _CORRUPT,
        _CUT,
    )
    _of(
        f"{_format} with 65,535 items",
        partial(_isobmff, _format, b"iinf", 8, b"\xff\xff"),
        _CORRUPT,
        None,
    )
_of(
    "AVIF that is larger than it says",
    _avif_that_is_larger_than_it_says,
    None,
    _CORRUPT,
    Code.TOO_MUCH_MEMORY,
)
_of("AVIF of 50 frames", partial(_animation, "AVIF", 50), None)

# --- GIF, BMP -------------------------------------------------------------------------------------

_of("GIF of 50,000 x 50,000", huge_gif, _LARGE)
_of(
    "GIF whose frame is larger than it",
    lambda: _patched(small("GIF"), b",\0\0\0\0", 5, b"\xff" * 4),
    _LARGE,
)
_of(
    "GIF of 3,000 x 3,000 around a small picture",
    lambda: _patched(small("GIF"), b"GIF", 6, struct.pack("<HH", 3000, 3000)),
    None,
)
_of("GIF of 1,000 frames", partial(_animation, "GIF", 1000), None)
_of(
    "GIF with a code of 255 bits",
    lambda: _patched(small("GIF"), b",\0\0\0\0", 10, b"\xff"),
    _CORRUPT,
)
_of(
    "GIF with a comment of 16 MiB",
    lambda: (
        (d := small("GIF"))[: (at := d.index(b",", 781))]
        + b"!\xfe"
        + (b"\xff" + bytes(255)) * 65_536
        + b"\0"
        + d[at:]
    ),
    None,
    _CORRUPT,
    Code.TOO_SLOW,
)
_of("BMP of 50,000 x 50,000", huge_bmp, _LARGE)
_of(
    "BMP of height -2^31",
    lambda: _patched(small("BMP"), b"BM", 22, b"\0\0\0\x80"),
    _LARGE,
    _CORRUPT,
)
_of("BMP with 2^32 colours", lambda: _patched(small("BMP"), b"BM", 46, b"\xff" * 4), _CORRUPT, None)
_of(
    "BMP with a header of 4 GiB",
    lambda: _patched(small("BMP"), b"BM", 14, b"\xff" * 4),
    _CORRUPT,
    _CUT,
)

# --- JPEG, and what stands in its segments --------------------------------------------------------


def _segment(marker: int, content: bytes) -> bytes:
    return b"\xff" + bytes([marker]) + struct.pack(">H", 2 + len(content)) + content


def _jpeg_with(*parts: bytes) -> bytes:
    """A good JPEG with something behind its first marker."""
    data = small("JPEG")
    return data[:2] + b"".join(parts) + data[2:]


def _scans(count: int) -> bytes:
    """A progressive JPEG whose last scan, of next to no bytes, comes over and over again."""
    data = encoded(Image.new("L", (3000, 3000)), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * count + data[-2:]


def _exif(content: bytes) -> bytes:
    return _segment(0xE1, b"Exif\0\0" + content)


def _icc(number: int, count: int, content: bytes) -> bytes:
    return _segment(0xE2, b"ICC_PROFILE\0" + bytes([number, count]) + content)


def _xmp(text: bytes) -> bytes:
    return _segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + text)


_LAUGHS = b"<!DOCTYPE x [<!ENTITY a0 'ha'>" + b"".join(
    b"<!ENTITY a%d '%s'>" % (n, b"&a%d;" % (n - 1) * 10) for n in range(1, 30)
)
_XMP_TURNED = b"<x:xmpmeta xmlns:x='adobe:ns:meta/' tiff:Orientation=\"9\"/>"
_IFD_LOOP = b"II*\0" + struct.pack("<IHHHIII", 8, 1, 0x8769, _LONG, 1, 8, 8)
_IFD_FULL = b"II*\0" + struct.pack("<IH", 8, 65_535) + b"\x0f\1\1\0\xff\xff\xff\xff\0\0\0\0" * 5000

_of("JPEG of 50,000 x 50,000", huge_jpeg, _LARGE)
_of("JPEG of 0 x 0", lambda: _patched(small("JPEG"), b"\xff\xc0", 5, bytes(4)), _CORRUPT, _CUT)
_of("JPEG of 8,000 scans", lambda: _scans(8000), Code.TOO_SLOW)
_of("JPEG behind 16 MiB of fill bytes", lambda: _jpeg_with(b"\xff" * (16 * MIB)), None)
_of("JPEG behind 1 MiB of stuffed bytes", lambda: _jpeg_with(b"\xff\0" * (MIB // 2)), None)
_of("JPEG behind 16 MiB of restarts", lambda: _jpeg_with(b"\xff\xd0" * (8 * MIB)), None, _CORRUPT)
_of("JPEG behind 200,000 segments", lambda: _jpeg_with(_segment(0xE5, b"") * 200_000), None)
_of("JPEG of 255 components", lambda: _patched(small("JPEG"), b"\xff\xc0", 9, b"\xff"), _CORRUPT)
_of("JPEG of sampling 15", lambda: _patched(small("JPEG"), b"\xff\xc0", 11, b"\xff"), _CORRUPT)
_of(
    "JPEG of tables that are not there",
    lambda: _patched(small("JPEG"), b"\xff\xc0", 12, b"\3"),
    _CORRUPT,
)
_of("JPEG without loss", lambda: _patched(small("JPEG"), b"\xff\xc0", 1, b"\xc3"), _CORRUPT)
_of("JPEG of 12 bits", lambda: _patched(small("JPEG"), b"\xff\xc0", 4, b"\x0c"), _UNREAD)
_of(
    "JPEG with a segment that reaches far",
    lambda: _jpeg_with(b"\xff\xe5\xff\xff"),
    _CORRUPT,
    _CUT,
    None,
)
_of("JPEG with a segment of length 0", lambda: _jpeg_with(b"\xff\xe5\0\0"), _CORRUPT, _CUT, None)
_of("EXIF whose directories are a circle", lambda: _jpeg_with(_exif(_IFD_LOOP)), None)
_of("EXIF of 65,535 entries of 4 GiB", lambda: _jpeg_with(_exif(_IFD_FULL)), None)
_of("EXIF beyond its segment", lambda: _jpeg_with(_exif(b"MM\0*\xff\xff\xff\xff")), None)
_of("EXIF turned to 65,535", lambda: _jpeg_with(_exif(tiff(">", 65_535))), None)
_of("EXIF of no bytes", lambda: _jpeg_with(_exif(b"")), None)
_of("EXIF of a PNG in a circle", lambda: _with_chunk(png_chunk(b"eXIf", _IFD_LOOP)), None)
_of("EXIF of a WebP in a circle", lambda: _webp_with(b"EXIF", _IFD_LOOP), None)
_of(
    "EXIF of a CMYK picture in a circle",
    lambda: (d := encoded(SMALL.convert("CMYK"), "JPEG"))[:2] + _exif(_IFD_LOOP) + d[2:],
    None,
)
_of(
    "EXIF of a CMYK picture, 65,535 entries",
    lambda: (d := encoded(SMALL.convert("CMYK"), "JPEG"))[:2] + _exif(_IFD_FULL) + d[2:],
    None,
)
_of("ICC of 255 parts, one there", lambda: _jpeg_with(_icc(1, 255, b"profile")), None)
_of("ICC whose parts are all the first", lambda: _jpeg_with(_icc(1, 2, bytes(60_000)) * 255), None)
_of("ICC part 0 of 0", lambda: _jpeg_with(_icc(0, 0, b"")), None)
_of(
    "ICC of 4 GiB in a CMYK picture",
    lambda: encoded(SMALL.convert("CMYK"), "JPEG", icc_profile=b"\xff" * 4 + bytes(200)),
    None,
)
_of("XMP with a thousand million laughs", lambda: _jpeg_with(_xmp(_LAUGHS)), None)
_of("XMP turned to 9 in a WebP", lambda: small("WEBP", xmp=_XMP_TURNED), None)
_of(
    "XMP turned to 9 in a CMYK picture",
    lambda: (d := encoded(SMALL.convert("CMYK"), "JPEG"))[:2] + _xmp(_XMP_TURNED) + d[2:],
    None,
)
_of("XMP of no end", lambda: _jpeg_with(_xmp(b"<" * 60_000)), None)
_of("JPEG that is a ZIP behind", lambda: small("JPEG") + b"PK\5\6" + bytes(18), None)


def signatures() -> list[bytes]:
    """A good picture of each format, for a fuzzer to begin with."""
    formats = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "HEIF")
    return [encoded(SMALL.resize((16, 16)), name) for name in formats]

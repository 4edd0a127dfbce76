"""What is wrong with an image that its decoder does not take: damage, or a lack of memory."""

from __future__ import annotations

import errno
import mmap
import re
import sys

from detection.codecs.sniff import Format
from detection.errors import ImageError, ImageErrorCode, is_machines

# the words of libjpeg, Pillow and libheif
_NO_MEMORY = re.compile(r"insufficient memory|out of memory|memory_allocation", re.IGNORECASE)
# theirs for what is whole, and of a kind that they do not read
_UNKNOWN = re.compile(r"unsupported(?! marker)|not (yet )?(supported|implemented|configured)", re.I)
_DECODING_BYTES = 12  # a pixel: libwebp has two canvases of 4, and planes of its own


def damaged(kind: Format, error: Exception, pixels: int) -> Exception:
    """What to raise for a decoder's error, whose cause may be a lack of memory or of threads.

    Args:
        kind: the format.
        error: the decoder's.
        pixels: how many the image has; 0 where that is not known.
    """
    if is_machines(error):
        return error
    if _NO_MEMORY.search(str(error)) or not _has_memory_for(pixels):
        return MemoryError(str(error))
    reason = " ".join(str(error).split()).rstrip(".")
    if "truncated" in reason.lower():
        return cut_short(kind)
    if _UNKNOWN.search(reason):
        return ImageError(
            ImageErrorCode.UNSUPPORTED_FORMAT,
            f"The {kind.upper()} is of a kind that is not read: {reason}.",
        )
    return ImageError(
        ImageErrorCode.CORRUPT_IMAGE,
        f"The {kind.upper()} is damaged: {reason or 'no more is known'}.",
    )


def cut_short(kind: Format) -> ImageError:
    """What to raise for an image whose file ends too early."""
    return ImageError(
        ImageErrorCode.TRUNCATED_IMAGE,
        f"The {kind.upper()} ends before its picture does: it was cut short.",
    )


def _has_memory_for(pixels: int) -> bool:
    """Whether so many pixels could be decoded at all.

    libwebp, libavif and libheif report a lack of memory as damage.
    """
    if sys.platform == "win32" or not pixels:
        return True
    try:
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS  # shared memory would not count
        mmap.mmap(-1, pixels * _DECODING_BYTES, flags=flags).close()
    except OSError as error:
        return error.errno != errno.ENOMEM
    return True

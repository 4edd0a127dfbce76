"""What keeps an image from being cropped, and whose fault that is: the image's or the machine's."""

from __future__ import annotations

import errno
from enum import StrEnum

from facecrop.errors import FacecropError

_MOST_CHARACTERS = 300  # of a line
_WANTING = {
    errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS,
}  # fmt: skip
"""What the system answers when it has no more processes, threads, files or room."""


class ImageErrorCode(StrEnum):
    """The closed set of reasons that stand in the manifest. All of it is permanent."""

    EMPTY_FILE = "empty_file"
    NOT_AN_IMAGE = "not_an_image"  # named like one, but its first bytes are no image's
    UNSUPPORTED_FORMAT = "unsupported_format"
    CORRUPT_IMAGE = "corrupt_image"
    TRUNCATED_IMAGE = "truncated_image"
    TOO_MANY_PIXELS = "too_many_pixels"
    TOO_SLOW = "too_slow"
    TOO_MUCH_MEMORY = "too_much_memory"
    DECODER_CRASHED = "decoder_crashed"


class ImageWarning(StrEnum):
    """The closed set of what was done with a doubt to an image that was read all the same."""

    BITS_GUESSED = "bits_guessed"  # how much of a deep sample is used: by what is there
    COARSE_CROPS = "coarse_crops"  # limits.image_mib allows no decoding as fine as they need
    COLOUR_PROFILE_UNKNOWN = "colour_profile_unknown"  # it has one that makes no sense
    DAMAGED_DATA = "damaged_data"  # a viewer shows it; some of it may be wrong
    DATA_BEHIND_END = "data_behind_end"  # the picture has no end of its own before other data
    CONVERTED = "converted"  # it was written otherwise: in another format, one frame, fewer bits
    END_MISSING = "end_missing"  # all of the picture is there, but for the mark of its end
    FIRST_PAGE_OF_N = "first_page_of_n"  # there are others; `pages` has how many
    METADATA_UNREADABLE = "metadata_unreadable"  # some of it makes no sense, or is too much to copy
    PAGE_UNREADABLE = "page_unreadable"  # one of several, of which all were to be searched
    SMALL_FACES = "small_faces"  # it has faces as small as can be seen, so perhaps smaller ones
    THUMBNAIL_ONLY = "thumbnail_only"  # all that is readable is a preview of the photograph
    TURNED = "turned"  # by its faces it lies on its side or head, and its crops were turned
    UNALIGNED = "unaligned"  # a face without landmarks was to be aligned, or framed by its head


class ImageError(FacecropError):
    """One image cannot be used, said in one plain sentence.

    Attributes:
        code: the closed-set reason.
    """

    def __init__(self, code: ImageErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code


class MachineError(FacecropError):
    """No image can be worked on here now, said in one line; later, or elsewhere, it may be."""


class DetectorError(FacecropError):
    """The settings give no detector, said in one line: a model file that cannot be used."""


def is_machines(error: BaseException) -> bool:
    """Whether an exception tells of what the machine lacks, memory aside, and not of an image."""
    if isinstance(error, OSError):
        return error.errno in _WANTING
    # "can't start new thread", "unable to start watchdog thread"
    return isinstance(error, RuntimeError) and "start" in str(error) and "thread" in str(error)


def one_line(text: str) -> str:
    """A text from anywhere as one printable line of bounded length."""
    line = " ".join(text.split())
    if not line.isprintable():
        line = "".join(one if one.isprintable() else "?" for one in line)
    return line if len(line) <= _MOST_CHARACTERS else line[: _MOST_CHARACTERS - 2] + " …"

"""What keeps an image from being cropped, and whose fault that is: the image's or the machine's."""

from __future__ import annotations

import errno

from facecrop.errors import Code, FacecropError

_MOST_CHARACTERS = 300  # of a line
_WANTING = {
    errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS,
}  # fmt: skip
"""What the system answers when it has no more processes, threads, files or room."""


class ImageErrorCode(Code):
    """The closed set of reasons that stand in the manifest. All of it is permanent."""

    EMPTY_FILE = "empty_file", "has no bytes"
    NOT_AN_IMAGE = "not_an_image", "is named like one, but its first bytes are no image's"
    UNSUPPORTED_FORMAT = "unsupported_format", "is in a format that is known and not read"
    CORRUPT_IMAGE = "corrupt_image", "is damaged: no picture can be made of it"
    TRUNCATED_IMAGE = "truncated_image", "ends before its picture does: it was cut short"
    TOO_MANY_PIXELS = "too_many_pixels", "has more pixels than `--limits-max-pixels` allows"
    TOO_SLOW = "too_slow", "took longer than `--limits-image-seconds` allows"
    TOO_MUCH_MEMORY = "too_much_memory", "needs more memory than `--limits-image-mib` allows"
    DECODER_CRASHED = "decoder_crashed", "ended the process that worked on it, twice"


class ImageWarning(Code):
    """The closed set of what was done with a doubt to an image that was read all the same."""

    BITS_GUESSED = (
        "bits_guessed",
        "its samples have more bits than they use, and nothing says how many: they are scaled by "
        "what is there",
    )
    COARSE_CROPS = (
        "coarse_crops",
        "`--limits-image-mib` allows no decoding as fine as its crops need",
    )
    COLOUR_PROFILE_UNKNOWN = (
        "colour_profile_unknown",
        "it has a colour profile that makes no sense: its colours are as they are stored",
    )
    DAMAGED_DATA = (
        "damaged_data",
        "some of its data is damaged, and viewers show it all the same",
    )
    DATA_BEHIND_END = "data_behind_end", "the picture is whole, but has no end before other data"
    CONVERTED = (
        "converted",
        "the blurred photograph was not written as it came: in another format, of an animation one "
        "frame, without alpha, or with fewer bits",
    )
    END_MISSING = "end_missing", "the picture is whole, but for the mark of its end"
    FIRST_PAGE_OF_N = (
        "first_page_of_n",
        "it has other pages, which were not looked at; `pages` has how many",
    )
    METADATA_UNREADABLE = (
        "metadata_unreadable",
        "some of its metadata makes no sense, or is too much to copy: it was left out",
    )
    PAGE_UNREADABLE = (
        "page_unreadable",
        "a page of it cannot be read, and `--detection-pages all` asked for all",
    )
    SMALL_FACES = (
        "small_faces",
        "it has faces as small as can be seen in its passes, so smaller ones may be missing: "
        "`--detection-profile thorough` goes down to full size",
    )
    THUMBNAIL_ONLY = (
        "thumbnail_only",
        "all of it that can be read is a preview, much smaller than the photograph",
    )
    TURNED = (
        "turned",
        "by its faces it lies on its side or on its head, and nothing in the file says so: its "
        "crops were turned upright",
    )
    UNALIGNED = (
        "unaligned",
        "a face of it has no landmarks and was to be aligned, or framed by the head: its crop is "
        "upright, around the box",
    )


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

"""Why the bytes of a member give no picture. All of it is permanent."""

from __future__ import annotations

from enum import StrEnum


class ImageErrorCode(StrEnum):
    """The closed set of reasons that stand in the manifest."""

    EMPTY_FILE = "empty_file"
    NOT_AN_IMAGE = "not_an_image"  # named like one, but its first bytes are no image's
    UNSUPPORTED_FORMAT = "unsupported_format"
    CORRUPT_IMAGE = "corrupt_image"
    TRUNCATED_IMAGE = "truncated_image"
    TOO_MANY_PIXELS = "too_many_pixels"
    TOO_SLOW = "too_slow"
    TOO_MUCH_MEMORY = "too_much_memory"
    DECODER_CRASHED = "decoder_crashed"


class ImageError(Exception):
    """One image cannot be used, said in one plain sentence.

    Attributes:
        code: the closed-set reason.
    """

    def __init__(self, code: ImageErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code

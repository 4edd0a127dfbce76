"""The values in a child's reply, each checked before anything is done with it.

Every function here raises ReplyError where a value is not what it has to be.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, cast

from detection.codecs.sniff import Format, sniff
from detection.errors import ImageWarning, one_line
from detection.options import (
    HASH_DIGITS,
    MOST_CROP_SIDE,
    MOST_EXIF_BYTES,
    MOST_PROFILE_BYTES,
    MOST_XMP_BYTES,
    Cut,
    ImageFormat,
    crop_size,
)

_SNIFFED: Mapping[ImageFormat, Format] = {"jpg": "jpeg", "png": "png", "webp": "webp"}
_CROP_HEADER_BYTES = 1 << 16
_DIGEST = re.compile(r"[0-9a-f]{64}")
_PHASH = re.compile(rf"[0-9a-f]{{{HASH_DIGITS}}}")


class ReplyError(Exception):
    """A reply that no child of ours gives, and why, in one line."""


def parsed(text: bytes) -> Any:
    """What a text says as JSON."""
    try:
        return json.loads(text.decode("ascii"))
    except (ValueError, RecursionError) as error:
        raise ReplyError(one_line(f"no JSON: {error}")) from None


def object_of(value: Any, names: set[str]) -> dict[str, Any]:
    """An object with these fields, all of them and no others."""
    require(isinstance(value, dict) and value.keys() == names, "other fields than there are")
    return cast(dict[str, Any], value)


def list_of(value: Any, length: int) -> list[Any]:
    """A list of so many values."""
    require(isinstance(value, list) and len(value) == length, f"no list of {length}")
    return cast(list[Any], value)


def whole(value: Any, least: int, most: int) -> int:
    """A whole number within bounds."""
    # by type, as True is an int
    require(type(value) is int and least <= value <= most, "a number out of bounds")
    return cast(int, value)


def number_in(value: Any, least: float, most: float) -> float:
    """A number within bounds."""
    # whatever is compared with NaN is false
    require(type(value) in (int, float) and least <= value <= most, "a number out of bounds")
    return float(value)


def digest_in(value: Any) -> str:
    """A SHA-256 in hexadecimal."""
    require(isinstance(value, str) and _DIGEST.fullmatch(value) is not None, "no SHA-256")
    return cast(str, value)


def phash_in(value: Any) -> str:
    """A picture's perceptual hash in hexadecimal."""
    require(isinstance(value, str) and _PHASH.fullmatch(value) is not None, "no hash")
    return cast(str, value)


def line_in(value: Any) -> str:
    """A printable line of bounded length."""
    require(isinstance(value, str) and value == one_line(value), "no line of text")
    return cast(str, value)


def warnings_in(value: Any) -> list[ImageWarning]:
    """Warnings, each once, in order."""
    require(isinstance(value, list), "no list of warnings")
    require(all(isinstance(one, str) for one in value), "a warning that is no text")
    require(set(value) <= set(ImageWarning), "an unknown warning")
    require(value == sorted(set(value)), "warnings out of order")
    return [ImageWarning(one) for one in value]


def crop_in(size: Any, blob: bytes, at: int, cut: Cut) -> bytes:
    """A crop of so many bytes that lies at a place of a reply's; of `cut`, no preset is left."""
    data = blob[at : at + whole(size, 1, most_crop_bytes(cut))]
    require(len(data) == size, "less bytes than the crops have")
    require(sniff(data) == _SNIFFED[cut.format], "another format")
    return data


def most_crop_bytes(cut: Cut) -> int:
    """Most bytes of a crop, in whichever format."""
    profile = MOST_PROFILE_BYTES if cut.color == "keep" else 0
    metadata = MOST_EXIF_BYTES + MOST_XMP_BYTES if cut.metadata != "none" else 0
    width, height = (side or MOST_CROP_SIDE for side in crop_size(cut))
    return 4 * width * height + _CROP_HEADER_BYTES + profile + metadata


def require(holds: bool, what: str) -> None:
    """Raise ReplyError, which says what is wrong, unless something holds."""
    if not holds:
        raise ReplyError(what)

"""What an image's process and its parent send each other.

A message is the lengths of a JSON text and of some bytes, and then these two. The parent sends
settings alone, which the child answers when it is ready for images, and then images alone. Nothing
is unpickled, as the process may be what a hostile image has made of it; what it says is checked in
`detection.sandbox.replies`.
"""

from __future__ import annotations

import json
import math
import struct
from dataclasses import dataclass
from typing import IO, Any

from detection.result import Crop, Image
from detection.sandbox.pipes import write

LENGTHS = struct.Struct("<QQ")

TRACE_CHARACTERS = 1 << 12
"""Of a traceback in a reply."""

_MOST_CROPS = 1 << 29  # bytes of all the crops of an image


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one image may take.

    Attributes:
        max_pixels: bound on width times height; of a JPEG, an eighth of it.
        seconds: from its bytes to its crops.
        memory_mib: beside what the process has that works on it; kept where the system can, as
            Linux does.
    """

    max_pixels: int
    seconds: int
    memory_mib: int

    @property
    def crops_bytes(self) -> int:
        """Most bytes of all its crops, which its process holds twice when it sends them."""
        return min(self.memory_mib << 19, _MOST_CROPS)


def send(pipe: IO[bytes], text: bytes, blob: bytes | memoryview = b"") -> None:
    """Write a message; OSError where the other side has ended."""
    write(pipe.fileno(), [LENGTHS.pack(len(text), len(blob)) + text, blob], math.inf)


def receive(pipe: IO[bytes]) -> tuple[bytes, bytes]:
    """Wait for a message; EOFError where the other side has ended."""
    text, blob = LENGTHS.unpack(_read(pipe, LENGTHS.size))
    return _read(pipe, text), _read(pipe, blob)


def _read(pipe: IO[bytes], size: int) -> bytes:
    data = pipe.read(size)
    if len(data) < size:
        raise EOFError
    return data


def send_ready(pipe: IO[bytes], fault: str = "", why: str = "") -> None:
    """Says that the child is ready for images, or whose fault it is that it is not, and why."""
    send(pipe, json.dumps({"ready": not fault, "fault": fault, "why": why}).encode())


def to_reply(image: Image) -> tuple[dict[str, Any], bytes]:
    """An image as what JSON takes, and the bytes of its crops, or of the photograph itself."""
    crops = [_fields(crop) | {"data": len(crop.data)} for crop in image.crops]
    fields = _fields(image) | {"crops": crops, "photo": len(image.photo)}
    return fields, image.photo or b"".join(crop.data for crop in image.crops)


def _fields(one: Crop | Image) -> dict[str, Any]:
    # `dataclasses.asdict` copies all that is in them, and takes twenty times as long
    return {name: getattr(one, name) for name in one.__slots__}


def printable_trace(trace: str) -> str:
    """The end of a traceback, with what cannot be printed escaped, as a reply may hold it."""
    lines = trace[-TRACE_CHARACTERS:].split("\n")
    escaped = "\n".join(
        line if line.isprintable() else line.encode("unicode_escape").decode() for line in lines
    )
    return escaped[-TRACE_CHARACTERS:]

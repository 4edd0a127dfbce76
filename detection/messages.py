"""What an image's process and its parent send each other.

A message is the lengths of a JSON text and of some bytes, and then these two. Nothing is unpickled,
as the process may be what a hostile image has made of it.
"""

from __future__ import annotations

import os
import struct
import sys
from dataclasses import dataclass
from typing import IO, Any

from detection.geometry import Square
from detection.image import Crop, Image

_LENGTHS = struct.Struct("<QQ")


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one image may take.

    Attributes:
        max_pixels: bound on width times height.
        seconds: from its bytes to its crops.
        memory_mib: beside what the process has that works on it; kept where the system can, as
            Linux does.
    """

    max_pixels: int
    seconds: int
    memory_mib: int


def send(pipe: IO[bytes], text: bytes, blob: bytes | memoryview) -> None:
    """Writes a message; OSError where the other side has ended."""
    head = _LENGTHS.pack(len(text), len(blob)) + text
    sent = 0
    if sys.platform != "win32":
        # at once, or the other side is woken for the head, too, and takes someone's turn on a core
        sent = os.writev(pipe.fileno(), [head, blob])
    pipe.write(head[sent:])
    pipe.write(memoryview(blob)[max(0, sent - len(head)) :])
    pipe.flush()


def receive(pipe: IO[bytes]) -> tuple[bytes, bytes]:
    """Waits for a message; EOFError where the other side has ended."""
    text, blob = _LENGTHS.unpack(_read(pipe, _LENGTHS.size))
    return _read(pipe, text), _read(pipe, blob)


def _read(pipe: IO[bytes], size: int) -> bytes:
    data = pipe.read(size)
    if len(data) < size:
        raise EOFError
    return data


def to_reply(image: Image) -> tuple[dict[str, Any], bytes]:
    """An image as what JSON takes, and the bytes of its crops."""
    # by hand, as `dataclasses.asdict` copies all that is in them, and takes twenty times as long
    crops = [
        {
            "rank": crop.rank,
            "box": crop.box,
            "score": crop.score,
            "landmarks": crop.landmarks,
            "square": crop.square,
            "sharpness": crop.sharpness,
            "data": len(crop.data),
        }
        for crop in image.crops
    ]
    reply = {
        "width": image.width,
        "height": image.height,
        "crops": crops,
        "decode_ms": image.decode_ms,
        "detect_ms": image.detect_ms,
        "crop_ms": image.crop_ms,
    }
    return reply, b"".join(crop.data for crop in image.crops)


def from_reply(reply: dict[str, Any], blob: bytes) -> Image:
    """The image again."""
    crops, at = [], 0
    for crop in reply["crops"]:
        x, y, w, h = crop["box"]
        points = crop["landmarks"]
        data = blob[at : at + crop["data"]]
        at += len(data)
        crops.append(
            Crop(
                crop["rank"],
                (x, y, w, h),
                crop["score"],
                None if points is None else tuple((x, y) for x, y in points),
                Square(*crop["square"]),
                crop["sharpness"],
                data,
            )
        )
    return Image(**{**reply, "crops": crops})

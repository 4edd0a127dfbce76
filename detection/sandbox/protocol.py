"""What an image's process and its parent send each other.

A message is the lengths of a JSON text and of some bytes, and then these two. The parent sends
settings alone, which the child answers when it is ready for images, and then images: alone, or with
what is known of their faces, and of those none is empty. Nothing is unpickled, as the process may
be what a hostile image has made of it; what it says is checked in `detection.sandbox.replies` and
`detection.sandbox.known`.
"""

from __future__ import annotations

import json
import math
import struct
from dataclasses import dataclass
from typing import IO, Any

from detection.known import Changed, KnownFace, KnownFaces, Recut
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


def to_known(text: bytes) -> KnownFaces:
    """What is known of an image, of the JSON that `RecutQuestion.text` made of it."""
    sent = json.loads(text)
    faces = [
        KnownFace(page, tuple(box), points and tuple(map(tuple, points)), turn)
        for page, box, points, turn in sent["faces"]
    ]
    return KnownFaces(**{**sent, "size": tuple(sent["size"]), "faces": faces})


def to_recut_reply(image: Recut | Changed, known: KnownFaces) -> tuple[dict[str, Any], bytes]:
    """An image whose known faces were cut out as what JSON takes, and the bytes of its crops."""
    if isinstance(image, Changed):
        return {"changed": image.sha256}, b""
    sizes = {face.page: crop.size for face, crop in zip(known.faces, image.crops[0], strict=True)}
    fields = {
        "crops": [[len(crop.data) for crop in some] for some in image.crops],
        "sizes": [sizes[page] for page in known.pages],
        "warnings": image.warnings,
        "decode_ms": image.decode_ms,
        "crop_ms": image.crop_ms,
    }
    return fields, b"".join(crop.data for some in image.crops for crop in some)


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

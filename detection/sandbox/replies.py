"""The replies of a child, checked whole before anything is done with them.

A child may be what a hostile image has made of it. What passes here has every property that an
`Image` of our own making has, so that the worst that is left is a wrong face, of that image.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol, TypeAlias, TypeVar, cast

from detection.codecs.sniff import Format, sniff
from detection.errors import ImageError, ImageErrorCode, ImageWarning
from detection.framing.frame import Frame
from detection.framing.place import place
from detection.geometry import Square
from detection.options import (
    JPEG_TIMES,
    MOST_CROP_SIDE,
    MOST_FACES,
    Cover,
    PhotoFormat,
)
from detection.pick import pick_score
from detection.result import Crop, Image
from detection.sandbox.checks import (
    crop_in,
    digest_in,
    line_in,
    list_of,
    number_in,
    object_of,
    parsed,
    phash_in,
    require,
    warnings_in,
    whole,
)
from detection.sandbox.protocol import TRACE_CHARACTERS, Bounds
from detection.settings import CutSettings, DetectionSettings

_FACE_BYTES = 2048  # of text; 34 numbers of 25 characters, with their names
_TEXT_BYTES = 1 << 16  # beside the faces
MOST_MS = 1e9
_ROUNDING_PX = 1.0  # boxes are float32 in the child, of an image of up to 2 ** 30 pixels a side
_FARTHEST = 64  # times the image's longer side, and _NEAR_PX: beyond it nothing is ever found
_NEAR_PX = 4096
_KIND = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
_PHOTOS: Mapping[PhotoFormat, Format] = {
    "jpg": "jpeg", "png": "png", "webp": "webp", "tif": "tiff",
}  # fmt: skip
_PARENTS_CODES = {ImageErrorCode.TOO_SLOW, ImageErrorCode.DECODER_CRASHED}
_ERRORS = {"error", "machine", "failure"}
_IMAGE = {
    "number", "width", "height", "crops", "pages", "warnings", "decode_ms", "detect_ms", "crop_ms",
    "sha256", "photo", "photo_format", "cpu_ms", "phash",
}  # fmt: skip
_CROP = {
    "rank", "page", "size", "box", "score", "landmarks", "frame", "turn", "sharpness",
    "data", "pick_score", "sharpness_scale", "brightness", "contrast",
}  # fmt: skip
_MOST_PAGES = 1 << 31
_MOST_OF_MATRIX = 1 << 60  # whatever follows from bounded boxes and landmarks is below it
_TURNS = (0, 90, 180, 270)
_SCALES = (1.0, 0.5, 0.25, 0.125)  # of decoded pixels: `detection.codecs.decode.REDUCTIONS`
_MOST_DEVIATION = 127.5  # of bytes: half of them 0, half 255
_ROUNDING = 1e-6  # of scores that are the same but for where they were computed, or in float32


class UnforeseenError(Exception):
    """Facecrop itself failed on an image: it has to be mended.

    Attributes:
        kind: name of the exception in the child, whose traceback is the message.
    """

    def __init__(self, kind: str, trace: str) -> None:
        super().__init__(trace)
        self.kind = kind


class ShortageError(Exception):
    """The child says, in one line, what its machine lacks; it may be lying."""


Found: TypeAlias = tuple[Image, str]
"""The faces of an image, with the SHA-256 of its bytes in hex, which the child has in its cache."""

Outcome: TypeAlias = Found | ImageError | UnforeseenError
"""The result of an image: its faces; or why its bytes give no picture, or none within the bounds;
or what failed there."""

Result = TypeVar("Result", covariant=True)


class Work(Protocol):
    """What a child has to do with its images."""

    @property
    def bounds(self) -> Bounds:
        """What one image may take."""
        ...

    def as_message(self) -> bytes:
        """The same as JSON, for the child."""
        ...

    def of_grey(self) -> Question[Any]:
        """What can be asked about a grey picture of 64 x 64 pixels, to see whether any work."""
        ...


class Question(Protocol[Result]):
    """What a child is asked about one image."""

    @property
    def text(self) -> bytes:
        """What is sent along with the image."""
        ...

    @property
    def text_bytes(self) -> int:
        """Most bytes of the text of a reply."""
        ...

    def read(self, reply: Any, blob: bytes) -> Result:
        """The result, of a reply that tells of no error; ReplyError where it is none."""
        ...


@dataclass(frozen=True, slots=True)
class Job:
    """Find the faces of images and cut them out; of `cut`, no preset is left."""

    detection: DetectionSettings
    cut: CutSettings
    bounds: Bounds
    cover: Cover | None = None
    text = b""  # there is nothing to be said about one image

    @property
    def faces(self) -> int:
        """Most faces of an image, on all of its pages that are searched."""
        each = self.cut.max_faces or MOST_FACES
        return each if self.detection.pages == "first" else MOST_FACES

    @property
    def text_bytes(self) -> int:
        """Most bytes of the text of a reply."""
        return _TEXT_BYTES + self.faces * _FACE_BYTES

    def as_message(self) -> bytes:
        """The same as JSON: for `DetectionOptions`, `CutOptions` and `Bounds`, and the cover."""
        detection = self.detection
        options = detection.model_dump(
            include={"method", "min_face", "max_overlap", "model", "pages"}
        )
        return json.dumps(
            {
                "detection": options | {"passes": asdict(detection.passes)},
                "cut": self.cut.model_dump(exclude={"preset"}),
                "bounds": asdict(self.bounds),
                "cover": self.cover,
            }
        ).encode()

    def of_grey(self) -> Job:
        """See `Work.of_grey`."""
        return self

    def read(self, reply: Any, blob: bytes) -> Found:
        """See `Question.read`."""
        return _image(object_of(reply, _IMAGE), blob, self), digest_in(reply["sha256"])


def read_ready(text: bytes) -> tuple[Literal["", "machine", "detector"], str]:
    """Whose fault it is that a child is not ready for images, and why; empty where it is ready.

    Raises:
        ReplyError: it is no such answer.
    """
    reply = object_of(parsed(text), {"ready", "fault", "why"})
    fault, why = reply["fault"], line_in(reply["why"])
    require(fault in ("", "machine", "detector"), "an unknown fault")
    require(reply["ready"] is (fault == ""), "ready and not ready")
    return cast(Literal["", "machine", "detector"], fault), why


def read_reply(
    text: bytes, blob: bytes, number: int, question: Question[Result]
) -> Result | ImageError | UnforeseenError | ShortageError:
    """The result of an image, as a child reports it.

    Args:
        text, blob: the message.
        number: of the image among those of this child, from 1.
        question: what was asked about it.

    Raises:
        ReplyError: it is no answer to that.
    """
    reply = parsed(text)
    require(isinstance(reply, dict), "no object")
    require(whole(reply.get("number"), 1, number) == number, "of another image")
    if reply.keys().isdisjoint(_ERRORS):
        return question.read(reply, blob)
    require(not blob, "bytes that belong to nothing")
    if "error" in reply:
        object_of(reply, {"number", "error", "message"})
        code = reply["error"]
        require(isinstance(code, str) and code in set(ImageErrorCode), "an unknown error")
        require(code not in _PARENTS_CODES, "an error that is not a child's to tell")
        return ImageError(ImageErrorCode(code), line_in(reply["message"]))
    if "machine" in reply:
        return ShortageError(line_in(object_of(reply, {"number", "machine"})["machine"]))
    object_of(reply, {"number", "failure", "trace"})
    kind, trace = reply["failure"], reply["trace"]
    require(isinstance(kind, str) and _KIND.fullmatch(kind) is not None, "no exception's name")
    require(isinstance(trace, str) and len(trace) <= TRACE_CHARACTERS, "no traceback")
    require(all(line.isprintable() for line in trace.split("\n")), "no text")
    return UnforeseenError(kind, trace)


def _image(reply: dict[str, Any], blob: bytes, job: Job) -> Image:
    most = job.bounds.max_pixels * (1 if job.cover else JPEG_TIMES)
    width, height = whole(reply["width"], 1, most), whole(reply["height"], 1, most)
    require(width * height <= most, "more pixels than allowed")
    times = (number_in(reply[name], 0, MOST_MS) for name in ("decode_ms", "detect_ms", "crop_ms"))
    crops = reply["crops"]
    require(isinstance(crops, list) and len(crops) <= job.faces, "more faces than allowed")
    at = 0
    pages = reply["pages"]
    if pages is not None:
        pages = whole(pages, 1, _MOST_PAGES)
    photo, photo_format = _photo(reply, blob, job)
    decode_ms, detect_ms, crop_ms = times
    image = Image(
        *(width, height, [], pages, warnings_in(reply["warnings"]), decode_ms, detect_ms, crop_ms),
        photo=photo,
        photo_format=photo_format,
        phash=phash_in(reply["phash"]),
        cpu_ms=number_in(reply["cpu_ms"], 0, MOST_MS),
    )
    for rank, one in enumerate(crops):
        size = object_of(one, _CROP)["data"]
        data = blob[: whole(size, 0, 0)] if job.cover else crop_in(size, blob, at, job.cut)
        image.crops.append(_crop(one, data, rank, image, job))
        at += size
    require(at + len(photo) == len(blob), "more bytes than the crops have")
    return image


def _photo(reply: dict[str, Any], blob: bytes, job: Job) -> tuple[bytes, PhotoFormat | None]:
    """The photograph itself, which is there if and only if that was asked for."""
    size, named = reply["photo"], reply["photo_format"]
    if job.cover is None:
        require(whole(size, 0, 0) == 0 and named is None, "a photograph that nobody asked for")
        return b"", None
    require(whole(size, 1, job.bounds.crops_bytes) == len(blob), "other bytes than it has")
    require(isinstance(named, str) and named in _PHOTOS, "an unknown format")
    require(sniff(blob) == _PHOTOS[cast(PhotoFormat, named)], "a photograph of another format")
    return blob, cast(PhotoFormat, named)


def _crop(one: dict[str, Any], data: bytes, rank: int, image: Image, job: Job) -> Crop:
    require(whole(one["rank"], 0, MOST_FACES) == rank, "ranks out of order")
    last = (image.pages or 1) - 1 if job.detection.pages == "all" else 0
    page = whole(one["page"], image.crops[-1].page if image.crops else 0, last)
    most = job.bounds.max_pixels * JPEG_TIMES
    width, height = (whole(side, 1, most) for side in list_of(one["size"], 2))
    require(width * height <= most, "a page of more pixels than allowed")
    require(page > 0 or (width, height) == (image.width, image.height), "a page of another size")
    far = _FARTHEST * max(width, height) + _NEAR_PX
    x, y, w, h = (number_in(value, -far, far) for value in list_of(one["box"], 4))
    require(min(w, h) >= job.detection.min_face, "a face smaller than wanted")
    require(
        -_ROUNDING_PX <= x + w / 2 <= width + _ROUNDING_PX
        and -_ROUNDING_PX <= y + h / 2 <= height + _ROUNDING_PX,
        "a face outside of its image",
    )
    score, points = one["score"], one["landmarks"]
    if score is not None:
        score = number_in(score, 0, 1)
    if points is not None:
        pairs = (list_of(point, 2) for point in list_of(points, 5))
        points = tuple((number_in(a, -far, far), number_in(b, -far, far)) for a, b in pairs)
    turn = one["turn"]
    turns = _TURNS if job.detection.passes.turned_side else _TURNS[:1]
    require(type(turn) is int and turn in turns, "a turn that was not asked for")
    placed = place((x, y, w, h), points, (width, height), -turn // 90 % 4, job.cut)
    require(_frame(one["frame"]).is_close(placed.frame), "a frame that is not around its face")
    require(
        placed.as_asked or ImageWarning.UNALIGNED in image.warnings, "a face unaligned in silence"
    )
    sharpness = number_in(one["sharpness"], 0, 1)
    scale = number_in(one["sharpness_scale"], 0, 1)
    require(scale in _SCALES, "a scale that nothing is decoded at")
    brightness = number_in(one["brightness"], 0, 255)
    contrast = number_in(one["contrast"], 0, _MOST_DEVIATION)
    picked = number_in(one["pick_score"], 0, 1)
    # what the sharpness was in the pixels that `best` has, the child alone knows
    low, high = (
        pick_score(job.cut.pick, (x, y, w, h), (width, height), score, points, sharp)
        for sharp in (0.0, 1.0)
    )
    require(low - _ROUNDING <= picked <= high + _ROUNDING, "a rank that its face has not")
    if image.crops and image.crops[-1].page == page:
        require(picked <= image.crops[-1].pick_score + _ROUNDING, "faces out of order")
    return Crop(
        *(rank, page, (width, height), (x, y, w, h), score, points),
        *(placed.frame, turn, sharpness, data),
        *(picked, scale, brightness, contrast),
    )


def _frame(value: Any) -> Frame:
    matrix, width, height, square, exact = list_of(value, 5)
    numbers = tuple(number_in(one, -_MOST_OF_MATRIX, _MOST_OF_MATRIX) for one in list_of(matrix, 6))
    sides = (whole(one, -_MOST_OF_MATRIX, _MOST_OF_MATRIX) for one in list_of(square, 3))
    require(type(exact) is bool, "neither yes nor no")
    size = whole(width, 1, MOST_CROP_SIDE), whole(height, 1, MOST_CROP_SIDE)
    return Frame(cast(Any, numbers), *size, Square(*sides), exact)

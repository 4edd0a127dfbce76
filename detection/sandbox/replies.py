"""The replies of a child, checked whole before anything is done with them.

A child may be what a hostile image has made of it. What passes here has every property that an
`Image` of our own making has, so that the worst that is left is a wrong face, of that image.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias, cast

from detection.codecs.sniff import sniff
from detection.errors import ImageError, ImageErrorCode, ImageWarning, one_line
from detection.framing.frame import Frame
from detection.framing.place import place
from detection.geometry import Square
from detection.options import (
    JPEG_TIMES,
    MOST_CROP_SIDE,
    MOST_EXIF_BYTES,
    MOST_FACES,
    MOST_PROFILE_BYTES,
    MOST_XMP_BYTES,
    Cover,
    PhotoFormat,
    crop_size,
)
from detection.pick import pick_score
from detection.result import Crop, Image
from detection.sandbox.protocol import TRACE_CHARACTERS, Bounds
from detection.settings import CutSettings, DetectionSettings

_FACE_BYTES = 2048  # of text; 34 numbers of 25 characters, with their names
_TEXT_BYTES = 1 << 16  # beside the faces
_CROP_HEADER_BYTES = 1 << 16
_MOST_MS = 1e9
_ROUNDING_PX = 1.0  # boxes are float32 in the child, of an image of up to 2 ** 30 pixels a side
_FARTHEST = 64  # times the image's longer side, and _NEAR_PX: beyond it nothing is ever found
_NEAR_PX = 4096
_DIGEST = re.compile(r"[0-9a-f]{64}")
_KIND = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
_SNIFFED = {"jpg": "jpeg", "png": "png", "webp": "webp"}
_PHOTOS = _SNIFFED | {"tif": "tiff"}
_PARENTS_CODES = {ImageErrorCode.TOO_SLOW, ImageErrorCode.DECODER_CRASHED}
_IMAGE = {
    "number", "width", "height", "crops", "pages", "warnings", "decode_ms", "detect_ms", "crop_ms",
    "sha256", "photo", "photo_format", "cpu_ms",
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


class ReplyError(Exception):
    """A reply that no child of ours gives, and why, in one line."""


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


Outcome: TypeAlias = tuple[Image, str] | ImageError | UnforeseenError
"""The result of an image: its faces, with the SHA-256 of its bytes in hex, which the child has in
its cache; or why its bytes give no picture, or none within the bounds; or what failed there."""


@dataclass(frozen=True, slots=True)
class Job:
    """What a child has to do with its images; of `cut`, no preset is left."""

    detection: DetectionSettings
    cut: CutSettings
    bounds: Bounds
    cover: Cover | None = None

    @property
    def faces(self) -> int:
        """Most faces of an image, on all of its pages that are searched."""
        each = self.cut.max_faces or MOST_FACES
        return each if self.detection.pages == "first" else MOST_FACES

    @property
    def crop_bytes(self) -> int:
        """Most bytes of a crop, in whichever format."""
        profile = MOST_PROFILE_BYTES if self.cut.color == "keep" else 0
        metadata = MOST_EXIF_BYTES + MOST_XMP_BYTES if self.cut.metadata != "none" else 0
        width, height = (side or MOST_CROP_SIDE for side in crop_size(self.cut))
        return 4 * width * height + _CROP_HEADER_BYTES + profile + metadata

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
            [
                options | {"passes": asdict(detection.passes)},
                self.cut.model_dump(exclude={"preset"}),
                asdict(self.bounds),
                self.cover,
            ]
        ).encode()


def read_ready(text: bytes) -> tuple[Literal["", "machine", "detector"], str]:
    """Whose fault it is that a child is not ready for images, and why; empty where it is ready.

    Raises:
        ReplyError: it is no such answer.
    """
    reply = _object(_parsed(text), {"ready", "fault", "why"})
    fault, why = reply["fault"], _line(reply["why"])
    _require(fault in ("", "machine", "detector"), "an unknown fault")
    _require(reply["ready"] is (fault == ""), "ready and not ready")
    return cast(Literal["", "machine", "detector"], fault), why


def read_reply(text: bytes, blob: bytes, number: int, job: Job) -> Outcome | ShortageError:
    """The result of an image, as a child reports it.

    Args:
        text, blob: the message.
        number: of the image among those of this child, from 1.
        job: what was to be done with it.

    Raises:
        ReplyError: it is no answer to that.
    """
    reply = _parsed(text)
    _require(isinstance(reply, dict), "no object")
    _require(_whole(reply.get("number"), 1, number) == number, "of another image")
    if "crops" in reply:
        return _image(_object(reply, _IMAGE), blob, job), _digest(reply["sha256"])
    _require(not blob, "bytes that belong to nothing")
    if "error" in reply:
        _object(reply, {"number", "error", "message"})
        code = reply["error"]
        _require(isinstance(code, str) and code in set(ImageErrorCode), "an unknown error")
        _require(code not in _PARENTS_CODES, "an error that is not a child's to tell")
        return ImageError(ImageErrorCode(code), _line(reply["message"]))
    if "machine" in reply:
        return ShortageError(_line(_object(reply, {"number", "machine"})["machine"]))
    _object(reply, {"number", "failure", "trace"})
    kind, trace = reply["failure"], reply["trace"]
    _require(isinstance(kind, str) and _KIND.fullmatch(kind) is not None, "no exception's name")
    _require(isinstance(trace, str) and len(trace) <= TRACE_CHARACTERS, "no traceback")
    _require(all(line.isprintable() for line in trace.split("\n")), "no text")
    return UnforeseenError(kind, trace)


def _image(reply: dict[str, Any], blob: bytes, job: Job) -> Image:
    most = job.bounds.max_pixels * (1 if job.cover else JPEG_TIMES)
    width, height = _whole(reply["width"], 1, most), _whole(reply["height"], 1, most)
    _require(width * height <= most, "more pixels than allowed")
    times = (_number(reply[name], 0, _MOST_MS) for name in ("decode_ms", "detect_ms", "crop_ms"))
    crops = reply["crops"]
    _require(isinstance(crops, list) and len(crops) <= job.faces, "more faces than allowed")
    at = 0
    pages = reply["pages"]
    if pages is not None:
        pages = _whole(pages, 1, _MOST_PAGES)
    photo, photo_format = _photo(reply, blob, job)
    decode_ms, detect_ms, crop_ms = times
    image = Image(
        *(width, height, [], pages, _warnings(reply["warnings"]), decode_ms, detect_ms, crop_ms),
        photo=photo,
        photo_format=photo_format,
        cpu_ms=_number(reply["cpu_ms"], 0, _MOST_MS),
    )
    for rank, one in enumerate(crops):
        size = _object(one, _CROP)["data"]
        size = _whole(size, 0, 0) if job.cover else _whole(size, 1, job.crop_bytes)
        data = blob[at : at + size]
        _require(len(data) == size, "less bytes than the crops have")
        _require(bool(job.cover) or sniff(data) == _SNIFFED[job.cut.format], "another format")
        image.crops.append(_crop(one, data, rank, image, job))
        at += size
    _require(at + len(photo) == len(blob), "more bytes than the crops have")
    return image


def _photo(reply: dict[str, Any], blob: bytes, job: Job) -> tuple[bytes, PhotoFormat | None]:
    """The photograph itself, which is there if and only if that was asked for."""
    size, named = reply["photo"], reply["photo_format"]
    if job.cover is None:
        _require(_whole(size, 0, 0) == 0 and named is None, "a photograph that nobody asked for")
        return b"", None
    _require(_whole(size, 1, job.bounds.crops_bytes) == len(blob), "other bytes than it has")
    _require(isinstance(named, str) and named in _PHOTOS, "an unknown format")
    _require(sniff(blob) == _PHOTOS[named], "a photograph of another format")
    return blob, cast(PhotoFormat, named)


def _warnings(value: Any) -> list[ImageWarning]:
    _require(isinstance(value, list), "no list of warnings")
    _require(all(isinstance(one, str) for one in value), "a warning that is no text")
    _require(set(value) <= set(ImageWarning), "an unknown warning")
    _require(value == sorted(set(value)), "warnings out of order")
    return [ImageWarning(one) for one in value]


def _crop(one: dict[str, Any], data: bytes, rank: int, image: Image, job: Job) -> Crop:
    _require(_whole(one["rank"], 0, MOST_FACES) == rank, "ranks out of order")
    last = (image.pages or 1) - 1 if job.detection.pages == "all" else 0
    page = _whole(one["page"], image.crops[-1].page if image.crops else 0, last)
    most = job.bounds.max_pixels * JPEG_TIMES
    width, height = (_whole(side, 1, most) for side in _list(one["size"], 2))
    _require(width * height <= most, "a page of more pixels than allowed")
    _require(page > 0 or (width, height) == (image.width, image.height), "a page of another size")
    far = _FARTHEST * max(width, height) + _NEAR_PX
    x, y, w, h = (_number(value, -far, far) for value in _list(one["box"], 4))
    _require(min(w, h) >= job.detection.min_face, "a face smaller than wanted")
    _require(
        -_ROUNDING_PX <= x + w / 2 <= width + _ROUNDING_PX
        and -_ROUNDING_PX <= y + h / 2 <= height + _ROUNDING_PX,
        "a face outside of its image",
    )
    score, points = one["score"], one["landmarks"]
    if score is not None:
        score = _number(score, 0, 1)
    if points is not None:
        pairs = (_list(point, 2) for point in _list(points, 5))
        points = tuple((_number(a, -far, far), _number(b, -far, far)) for a, b in pairs)
    turn = one["turn"]
    turns = _TURNS if job.detection.passes.turned_side else _TURNS[:1]
    _require(type(turn) is int and turn in turns, "a turn that was not asked for")
    placed = place((x, y, w, h), points, (width, height), -turn // 90 % 4, job.cut)
    _require(_frame(one["frame"]).is_close(placed.frame), "a frame that is not around its face")
    _require(
        placed.as_asked or ImageWarning.UNALIGNED in image.warnings, "a face unaligned in silence"
    )
    sharpness = _number(one["sharpness"], 0, 1)
    scale = _number(one["sharpness_scale"], 0, 1)
    _require(scale in _SCALES, "a scale that nothing is decoded at")
    brightness = _number(one["brightness"], 0, 255)
    contrast = _number(one["contrast"], 0, _MOST_DEVIATION)
    picked = _number(one["pick_score"], 0, 1)
    # what the sharpness was in the pixels that `best` has, the child alone knows
    low, high = (
        pick_score(job.cut.pick, (x, y, w, h), (width, height), score, points, sharp)
        for sharp in (0.0, 1.0)
    )
    _require(low - _ROUNDING <= picked <= high + _ROUNDING, "a rank that its face has not")
    if image.crops and image.crops[-1].page == page:
        _require(picked <= image.crops[-1].pick_score + _ROUNDING, "faces out of order")
    return Crop(
        *(rank, page, (width, height), (x, y, w, h), score, points),
        *(placed.frame, turn, sharpness, data),
        *(picked, scale, brightness, contrast),
    )


def _frame(value: Any) -> Frame:
    matrix, width, height, square, exact = _list(value, 5)
    numbers = tuple(_number(one, -_MOST_OF_MATRIX, _MOST_OF_MATRIX) for one in _list(matrix, 6))
    sides = (_whole(one, -_MOST_OF_MATRIX, _MOST_OF_MATRIX) for one in _list(square, 3))
    _require(type(exact) is bool, "neither yes nor no")
    size = _whole(width, 1, MOST_CROP_SIDE), _whole(height, 1, MOST_CROP_SIDE)
    return Frame(cast(Any, numbers), *size, Square(*sides), exact)


def _parsed(text: bytes) -> Any:
    try:
        return json.loads(text.decode("ascii"))
    except (ValueError, RecursionError) as error:
        raise ReplyError(one_line(f"no JSON: {error}")) from None


def _object(value: Any, names: set[str]) -> dict[str, Any]:
    _require(isinstance(value, dict) and value.keys() == names, "other fields than there are")
    return cast(dict[str, Any], value)


def _list(value: Any, length: int) -> list[Any]:
    _require(isinstance(value, list) and len(value) == length, f"no list of {length}")
    return cast(list[Any], value)


def _whole(value: Any, least: int, most: int) -> int:
    # by type, as True is an int
    _require(type(value) is int and least <= value <= most, "a number out of bounds")
    return cast(int, value)


def _number(value: Any, least: float, most: float) -> float:
    # whatever is compared with NaN is false
    _require(type(value) in (int, float) and least <= value <= most, "a number out of bounds")
    return float(value)


def _digest(value: Any) -> str:
    _require(isinstance(value, str) and _DIGEST.fullmatch(value) is not None, "no SHA-256")
    return cast(str, value)


def _line(value: Any) -> str:
    _require(isinstance(value, str) and value == one_line(value), "no line of text")
    return cast(str, value)


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise ReplyError(what)

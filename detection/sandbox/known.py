"""Faces that are known, cut out by a child: what it is sent for that, and its reply, checked.

The frames are not in the reply: they follow from the faces and the settings, and the parent knows
both.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

from detection.errors import ImageError, ImageWarning
from detection.known import Changed, CutFace, KnownFace, KnownFaces, Recut
from detection.options import JPEG_TIMES
from detection.sandbox.checks import (
    crop_in,
    digest_in,
    list_of,
    number_in,
    object_of,
    require,
    warnings_in,
    whole,
)
from detection.sandbox.protocol import Bounds
from detection.sandbox.replies import MOST_MS, UnforeseenError
from detection.settings import CutSettings

Again: TypeAlias = Recut | Changed | ImageError | UnforeseenError
"""The result of an image whose faces were to be cut out once more."""

_TEXT_BYTES = 1 << 16  # beside the crops and pages
_CROP_BYTES = 16  # of text: the digits of its length
_PAGE_BYTES = 64
_RECUT = {"number", "crops", "sizes", "warnings", "decode_ms", "crop_ms"}
_GREY_SIDE = 64


@dataclass(frozen=True, slots=True)
class RecutJob:
    """Cut known faces out of images, in each of some ways; of `cuts`, no preset is left."""

    cuts: tuple[CutSettings, ...]
    bounds: Bounds

    def as_message(self) -> bytes:
        """The same as JSON: for `CutOptions` and `Bounds`."""
        cuts = [cut.model_dump(exclude={"preset"}) for cut in self.cuts]
        return json.dumps({"cuts": cuts, "bounds": asdict(self.bounds)}).encode()

    def about(self, faces: KnownFaces) -> RecutQuestion:
        """What is asked about one image."""
        return RecutQuestion(self, faces)

    def of_grey(self) -> RecutQuestion:
        """See `Work.of_grey`."""
        face = KnownFace(0, (0.0, 0.0, _GREY_SIDE, _GREY_SIDE), None, 0)
        return self.about(KnownFaces("", (_GREY_SIDE, _GREY_SIDE), [face]))


@dataclass(frozen=True, slots=True)
class RecutQuestion:
    """The faces to be cut out of one image; see `replies.Question`."""

    job: RecutJob
    known: KnownFaces

    @property
    def text(self) -> bytes:
        """The faces as JSON; `protocol.to_known` is the inverse."""
        return json.dumps(asdict(self.known)).encode()

    @property
    def text_bytes(self) -> int:
        """See `Question.text_bytes`."""
        faces = len(self.known.faces)
        return _TEXT_BYTES + faces * (len(self.job.cuts) * _CROP_BYTES + _PAGE_BYTES)

    def read(self, reply: Any, blob: bytes) -> Recut | Changed:
        """See `Question.read`."""
        if "changed" in reply:
            require(not blob, "bytes that belong to nothing")
            digest = digest_in(object_of(reply, {"number", "changed"})["changed"])
            require(digest != self.known.sha256 != "", "unchanged and changed")
            return Changed(digest)
        object_of(reply, _RECUT)
        sizes = self._sizes(reply["sizes"])
        lengths = list_of(reply["crops"], len(self.job.cuts))
        doubts = list_of(reply["warnings"], len(self.job.cuts))
        times = (number_in(reply[name], 0, MOST_MS) for name in ("decode_ms", "crop_ms"))
        crops, warnings, at = [], [], 0
        for cut, some, doubt in zip(self.job.cuts, lengths, doubts, strict=True):
            made, aligned = [], True
            for face, length in zip(
                self.known.faces, list_of(some, len(self.known.faces)), strict=True
            ):
                data = crop_in(length, blob, at, cut)
                placed = face.placed(sizes[face.page], cut)
                made.append(CutFace(sizes[face.page], placed.frame, data))
                aligned &= placed.as_asked
                at += len(data)
            crops.append(made)
            warnings.append(warnings_in(doubt))
            unaligned = ImageWarning.UNALIGNED in warnings[-1]
            require(unaligned is not aligned, "a face unaligned in silence, or said to be")
        require(at == len(blob), "more bytes than the crops have")
        return Recut(crops, warnings, *times)

    def _sizes(self, value: Any) -> dict[int, tuple[int, int]]:
        """The size of each page with a face; that of the first is known."""
        most = self.job.bounds.max_pixels * JPEG_TIMES
        sizes = {}
        for page, size in zip(self.known.pages, list_of(value, len(self.known.pages)), strict=True):
            width, height = (whole(side, 1, most) for side in list_of(size, 2))
            require(width * height <= most, "a page of more pixels than allowed")
            require(page > 0 or (width, height) == self.known.size, "a page of another size")
            sizes[page] = width, height
        return sizes

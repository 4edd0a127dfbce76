"""One member: from what the archive gave to its row and its crops. Where bytes meet pixels."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass

from detection.errors import ImageError
from detection.image import Crop
from detection.sandbox import Bounds, UnforeseenError, crop_faces_apart
from detection.sniff import sniff
from storage.errors import MemberErrorCode, SkipReason
from storage.manifest import FaceRow, MemberRow, Status
from storage.members import Chunk, Entry
from storage.names import crop_stem, looks_like_image
from storage.output import CROPS, shard_name
from tasks.settings import CropSettings

INTERNAL_ERROR = "internal_error"
"""The code for a failure that no other code foresees; the log has its traceback."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CroppedMember:
    """A member's row, with its encoded crops in the order of the row's faces."""

    row: MemberRow
    crops: list[bytes]


def crop_member(entry: Entry, chunk: Chunk, settings: CropSettings) -> CroppedMember:
    """Accounts for one member, whatever it is.

    Args:
        entry: what was read.
        chunk: the chunk that it belongs to.
        settings: all of the batch's.
    """
    if entry.skip is not None:
        return _without_image(entry, Status.SKIPPED, entry.skip.value, None)
    if entry.error is not None:
        if entry.error.code is MemberErrorCode.TOO_LARGE and not looks_like_image(entry.name):
            return _without_image(entry, Status.SKIPPED, SkipReason.NOT_AN_IMAGE.value, None)
        return _without_image(entry, Status.FAILED, entry.error.code.value, str(entry.error))
    data = entry.data if entry.data is not None else b""
    if not looks_like_image(entry.name) and sniff(data) is None:
        return _without_image(entry, Status.SKIPPED, SkipReason.NOT_AN_IMAGE.value, None)
    try:
        limits = settings.limits
        bounds = Bounds(limits.max_pixels, limits.image_seconds, limits.image_mib)
        image, digest = crop_faces_apart(data, settings.detection, settings.crop, bounds)
    except ImageError as error:
        return _failed_image(entry, data, error.code.value, str(error))
    except UnforeseenError as error:
        _log.error("Member %d (%r):\n%s", entry.index, entry.name, error)
        message = f"Facecrop itself failed on this image: {error.kind}. Please report it."
        return _failed_image(entry, data, INTERNAL_ERROR, message)
    stem = _crop_stem(entry, chunk, settings)
    return CroppedMember(
        MemberRow(
            entry.index,
            entry.name,
            Status.CROPPED if image.crops else Status.NO_FACE,
            len(data),
            width=image.width,
            height=image.height,
            decode_ms=image.decode_ms,
            detect_ms=image.detect_ms,
            crop_ms=image.crop_ms,
            sha256=digest,
            face_rows=[
                _face_row(crop, f"{stem}_{crop.rank}.{settings.crop.format}")
                for crop in image.crops
            ],
        ),
        [crop.data for crop in image.crops],
    )


def _failed_image(entry: Entry, data: bytes | memoryview, code: str, message: str) -> CroppedMember:
    digest = hashlib.sha256(data).hexdigest()
    return _without_image(entry, Status.FAILED, code, message, digest)


def _without_image(
    entry: Entry, status: Status, code: str, message: str | None, sha256: str | None = None
) -> CroppedMember:
    row = MemberRow(
        entry.index, entry.name, status, entry.size, error=code, message=message, sha256=sha256
    )
    return CroppedMember(row, [])


def _crop_stem(entry: Entry, chunk: Chunk, settings: CropSettings) -> str:
    """Where the member's crops go, below the output, without rank and extension."""
    if settings.output.layout == "shards":
        # WebDataset takes what precedes the first dot for the sample's key
        return f"{CROPS}/{shard_name(chunk.number)}/{entry.index:08d}"
    return f"{CROPS}/{crop_stem(entry.name, entry.index, entry.index in chunk.duplicates)}"


def _face_row(crop: Crop, path: str) -> FaceRow:
    x, y, w, h = crop.box
    points = crop.landmarks
    return FaceRow(
        crop.rank,
        x,
        y,
        w,
        h,
        crop.score,
        None if points is None else [value for point in points for value in point],
        crop.square.x,
        crop.square.y,
        crop.square.side,
        crop.sharpness,
        path,
    )

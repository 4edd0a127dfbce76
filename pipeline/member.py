"""One member: from what the archive gave to its row and its crops. Where bytes meet pixels."""

from __future__ import annotations

import hashlib
import logging
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from detection.codecs.sniff import sniff
from detection.errors import DetectorError, ImageError, MachineError
from detection.result import Crop
from detection.sandbox.pool import crop_isolated
from detection.sandbox.protocol import Bounds
from detection.sandbox.replies import Outcome, UnforeseenError
from pipeline.keep import rejects
from pipeline.naming import MemberNames
from pipeline.settings import CropSettings
from storage.archives.members import Chunk, Copy, Entry
from storage.errors import MemberErrorCode, SkipReason, StorageError, TransientError
from storage.output.counts import Status
from storage.output.manifest import FaceRow, MemberRow
from storage.output.names import looks_like_image, nests
from storage.roster import Roster

INTERNAL_ERROR = "internal_error"
"""The code for a failure that no other code foresees; the log has its traceback."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CroppedMember:
    """A member's row, with its files.

    Attributes:
        row: of the manifest, with the rows of its faces.
        crops: encoded, in the order of those of its faces that have one; none where the photograph
            is written instead.
        photo: that, with its faces covered, which the row's `file` names.
        cpu_ms: milliseconds of CPU that its image took; None where none was decoded.
    """

    row: MemberRow
    crops: list[bytes]
    photo: bytes = b""
    cpu_ms: float | None = None


def crop_members(
    entries: Iterable[Entry], chunk: Chunk, settings: CropSettings, roster: Roster | None = None
) -> Iterator[CroppedMember]:
    """Account for each member, whatever it is. Those that are no images may overtake others.

    Args:
        entries: what was read; the next one is taken while one is worked on.
        chunk: the chunk that they belong to.
        settings: all of the batch's.
        roster: who is on them, where names are made of that.

    Raises:
        TransientError: this machine cannot work on images now.
        StorageError: with these settings no machine can.
    """
    others: deque[CroppedMember] = deque()
    copies = {copy.member: copy for copy in chunk.copies}

    def images() -> Iterator[tuple[Entry, bytes | memoryview]]:
        for entry in entries:
            other = _without_image(entry)
            if other is None and entry.index in copies:
                other = _duplicate(entry, copies[entry.index])  # None: the file was replaced since
            if other is None:
                yield entry, _data(entry)
            else:
                others.append(other)

    limits = settings.limits
    bounds = Bounds(limits.max_pixels, limits.image_seconds, limits.image_mib)
    try:
        job = settings.detection, settings.crop, bounds, settings.covers
        for entry, outcome in crop_isolated(images(), *job):
            while others:
                yield others.popleft()
            yield _of_image(entry, outcome, chunk, settings, roster)
    except MachineError as error:
        raise TransientError(str(error)) from error
    except DetectorError as error:
        raise StorageError(str(error)) from error
    yield from others


def _without_image(entry: Entry) -> CroppedMember | None:
    """The row of a member that is no image or could not be read; None for others."""
    if entry.skip is not None:
        return _row_alone(entry, Status.SKIPPED, entry.skip.value, None)
    if entry.error is not None:
        wanted = looks_like_image(entry.name) or nests(entry.name)
        if entry.error.code is MemberErrorCode.TOO_LARGE and not wanted:
            return _row_alone(entry, Status.SKIPPED, SkipReason.NOT_AN_IMAGE.value, None)
        return _row_alone(entry, Status.FAILED, entry.error.code.value, str(entry.error))
    if not looks_like_image(entry.name) and sniff(_data(entry)) is None:
        return _row_alone(entry, Status.SKIPPED, SkipReason.NOT_AN_IMAGE.value, None)
    return None


def _duplicate(entry: Entry, copy: Copy) -> CroppedMember | None:
    """The row of a photograph whose bytes an earlier member has; None where it has others."""
    digest = hashlib.sha256(_data(entry)).hexdigest()
    if digest != copy.sha256:
        return None
    message = f"It has the same bytes as member {copy.first}: see there."
    made = _row_alone(entry, Status.SKIPPED, SkipReason.DUPLICATE.value, message, digest)
    return replace(made, row=replace(made.row, duplicate_of=copy.first))


def _of_image(
    entry: Entry, outcome: Outcome, chunk: Chunk, settings: CropSettings, roster: Roster | None
) -> CroppedMember:
    data = _data(entry)
    if isinstance(outcome, ImageError):
        return _failed_image(entry, data, outcome.code.value, str(outcome))
    if isinstance(outcome, UnforeseenError):
        return _failed_image(entry, data, INTERNAL_ERROR, unforeseen(entry, outcome))
    image, digest = outcome
    names = MemberNames(entry, chunk, settings, digest, roster)
    photo = None if image.photo_format is None else names.photo(image.photo_format)
    faces = []
    for crop in image.crops:
        why = [reason.value for reason in rejects(crop, settings.keep)]
        path = None if photo else names.crop(crop.rank, crop.page, kept=not why)
        faces.append(face_row(crop, path, why))
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
            pages=image.pages,
            warnings=sorted({*entry.warnings, *image.warnings, *names.warnings}),
            face_rows=faces,
            file=photo,
            phash=image.phash or None,
        ),
        [crop.data for crop, face in zip(image.crops, faces, strict=True) if face.crop is not None],
        image.photo,
        image.cpu_ms,
    )


def unforeseen(entry: Entry, error: UnforeseenError) -> str:
    """What the row of a member says on which Facecrop itself failed; the log says more."""
    _log.error("Member %d (%r):\n%s", entry.index, entry.name, error)
    return f"Facecrop itself failed on this image: {error.kind}. Please report it."


def _failed_image(entry: Entry, data: bytes | memoryview, code: str, message: str) -> CroppedMember:
    digest = hashlib.sha256(data).hexdigest()
    return _row_alone(entry, Status.FAILED, code, message, digest)


def _data(entry: Entry) -> bytes | memoryview:
    return b"" if entry.data is None else entry.data


def _row_alone(
    entry: Entry, status: Status, code: str, message: str | None, sha256: str | None = None
) -> CroppedMember:
    row = MemberRow(
        entry.index,
        entry.name,
        status,
        entry.size,
        error=code,
        message=message,
        sha256=sha256,
        warnings=sorted(entry.warnings),
    )
    return CroppedMember(row, [])


def face_row(crop: Crop, path: str | None, why: list[str]) -> FaceRow:
    """The row of a face.

    Args:
        crop: the face, cut out.
        path: of the crop's file, below the output; None for none.
        why: it was not worth keeping, by code.
    """
    x, y, w, h = crop.box
    points = crop.landmarks
    yaw, pitch = crop.look or (None, None)
    return FaceRow(
        crop.rank,
        crop.page,
        x,
        y,
        w,
        h,
        crop.score,
        None if points is None else [value for point in points for value in point],
        crop.square.x,
        crop.square.y,
        crop.square.side,
        crop.outside,
        crop.sharpness,
        path,
        crop.turn,
        crop.roll,
        crop.pick_score,
        crop.sharpness_scale,
        yaw,
        pitch,
        crop.brightness,
        crop.contrast,
        not why,
        why,
        crop.frame.width,
        crop.frame.height,
        crop.frame.scale,
        crop.eye_distance,
        list(crop.frame.matrix),
        crop.head_height,
        crop.eye_line,
    )

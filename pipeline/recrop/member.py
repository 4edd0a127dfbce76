"""One member of a recrop: from its row in the batch to its row and its crops in each output."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from detection.errors import ImageError, ImageWarning, MachineError
from detection.known import COARSEST_REDUCTION, Changed, CutFace, KnownFace, KnownFaces, Recut
from detection.result import Box, Crop, Points
from detection.sandbox.known import Again
from detection.sandbox.pool import recut_isolated
from detection.sandbox.protocol import Bounds
from pipeline.member import INTERNAL_ERROR, CroppedMember, face_row, unforeseen
from pipeline.naming import MemberNames
from pipeline.recrop.batch import Recrop
from storage.archives.members import Chunk, Entry
from storage.errors import MemberErrorCode, MemberWarning, SkipReason, TransientError
from storage.output.counts import Status
from storage.output.manifest import FaceRow, MemberRow

_OF_CUTTING = {
    ImageWarning.COARSE_CROPS,
    ImageWarning.CONVERTED,
    ImageWarning.METADATA_UNREADABLE,
    ImageWarning.UNALIGNED,
    MemberWarning.NAME_CHANGED,
}
"""Doubts about how crops were made, which say nothing about others."""

_NOT_IN_ORDER = {
    ImageWarning.DAMAGED_DATA,
    ImageWarning.DATA_BEHIND_END,
    ImageWarning.END_MISSING,
}

_OF_CROP = (
    *("crop_x", "crop_y", "crop_side", "outside", "crop", "crop_w", "crop_h", "crop_scale"),
    *("matrix", "head_height", "eye_line"),
)
"""Columns of a face that follow from how it was cut out; the others are as it was found."""

_FIRST_PAGE = ImageWarning.FIRST_PAGE_OF_N


@dataclass(frozen=True, slots=True)
class Wanted:
    """A member with faces that are wanted.

    Attributes:
        row: of the batch.
        faces: of its faces those that are wanted, by rank.
    """

    row: MemberRow
    faces: list[FaceRow]


def first_faces(faces: Sequence[FaceRow], most: int) -> list[FaceRow]:
    """Those that come first on each page, so many at most; all where that is 0."""
    taken: list[FaceRow] = []
    on = Counter[int | None]()
    for face in faces:
        on[face.page] += 1
        if not most or on[face.page] <= most:
            taken.append(face)
    return taken


def unwanted(row: MemberRow) -> MemberRow:
    """The row of a member of which nothing is cut: that of the batch, or why that is so."""
    if not row.face_rows:
        # its photograph may have been written again, for a batch of blurred ones
        warnings = [one for one in row.warnings if one != ImageWarning.CONVERTED]
        return replace(row, warnings=warnings, file=None)
    why = SkipReason.NOT_WANTED.value
    return replace(row, status=Status.SKIPPED, error=why, warnings=[], face_rows=[], file=None)


def recut_members(
    entries: Iterable[Entry], chunk: Chunk, wanted: dict[int, Wanted], batch: Recrop
) -> Iterator[list[CroppedMember]]:
    """Cut the faces that are wanted out of each member; a result for each output.

    Args:
        entries: members with such faces, read.
        chunk: that they belong to.
        wanted: these members, by index.
        batch: the recrop.

    Raises:
        TransientError: this machine cannot work on images now.
    """
    others: list[list[CroppedMember]] = []

    def images() -> Iterator[tuple[Entry, KnownFaces, bytes | memoryview]]:
        for entry in entries:
            one = wanted[entry.index]
            if entry.data:
                yield entry, _known(one, batch), entry.data
            else:
                others.append(_without_data(entry, one, batch))

    limits = batch.settings.limits
    bounds = Bounds(limits.max_pixels, limits.image_seconds, limits.image_mib)
    cuts = [target.settings.crop for target in batch.targets]
    try:
        for entry, outcome in recut_isolated(images(), cuts, bounds):
            yield _of_image(entry, outcome, chunk, wanted[entry.index], batch)
    except MachineError as error:
        raise TransientError(str(error)) from error
    yield from others


def _known(one: Wanted, batch: Recrop) -> KnownFaces:
    """What is known of an image."""
    row = one.row
    assert row.width is not None
    assert row.height is not None
    scale = one.faces[0].sharpness_scale  # all of a photograph were measured in the same pixels
    as_batch = scale and any(target.as_batch for target in batch.targets)
    return KnownFaces(
        row.sha256 or "",
        (row.width, row.height),
        [
            KnownFace(face.page or 0, _box(face), _points(face), face.turn or 0)
            for face in one.faces
        ],
        round(1 / scale) if scale and as_batch else COARSEST_REDUCTION,
        whole=not _NOT_IN_ORDER.isdisjoint(row.warnings),
    )


def _box(face: FaceRow) -> Box:
    return face.x, face.y, face.w, face.h


def _points(face: FaceRow) -> Points | None:
    """Its landmarks as pairs; an older Facecrop may have kept none."""
    flat = face.landmarks
    return None if flat is None else tuple(zip(flat[::2], flat[1::2], strict=True))


def _of_image(
    entry: Entry, outcome: Again, chunk: Chunk, one: Wanted, batch: Recrop
) -> list[CroppedMember]:
    if isinstance(outcome, Recut):
        return [
            _cut(entry, outcome, number, chunk, one, batch) for number in range(len(batch.targets))
        ]
    if isinstance(outcome, Changed):
        return _changed(one, outcome.sha256, batch)
    digest = one.row.sha256
    if isinstance(outcome, ImageError):
        return _failed(one, outcome.code.value, str(outcome), digest, batch)
    return _failed(one, INTERNAL_ERROR, unforeseen(entry, outcome), digest, batch)


def _without_data(entry: Entry, one: Wanted, batch: Recrop) -> list[CroppedMember]:
    if entry.error is not None:
        return _failed(one, entry.error.code.value, str(entry.error), None, batch)
    return _changed(one, hashlib.sha256(b"").hexdigest(), batch)


def _changed(one: Wanted, sha256: str, batch: Recrop) -> list[CroppedMember]:
    said = "It is not the photograph in which its faces were found: crop the archive again."
    return _failed(one, MemberErrorCode.CHANGED.value, said, sha256, batch)


def _failed(
    one: Wanted, code: str, message: str, sha256: str | None, batch: Recrop
) -> list[CroppedMember]:
    """A member that cannot be cut, in each output."""
    row = replace(
        unwanted(one.row), status=Status.FAILED, error=code, message=message, sha256=sha256
    )
    return [CroppedMember(row, []) for _ in batch.targets]


def _cut(
    entry: Entry, image: Recut, number: int, chunk: Chunk, one: Wanted, batch: Recrop
) -> CroppedMember:
    """A member's faces as they were cut in one way."""
    target = batch.targets[number]
    names = MemberNames(entry, chunk, target.settings, one.row.sha256 or "", batch.roster)
    most = target.settings.crop.max_faces
    taken = {face.rank for face in first_faces(one.faces, most)}
    rows, crops = [], []
    for face, cut in zip(one.faces, image.crops[number], strict=True):
        if face.rank not in taken:
            continue
        path = names.crop(face.rank, face.page or 0, kept=face.kept is not False)
        rows.append(_face_row(face, cut, path))
        if path is not None:
            crops.append(cut.data)
    doubts = {*one.row.warnings} - _OF_CUTTING
    # of several pages it is known already whether all were searched
    doubts |= {*entry.warnings, *names.warnings, *image.warnings[number]} - {_FIRST_PAGE}
    row = replace(
        one.row,
        decode_ms=image.decode_ms,
        detect_ms=None,
        crop_ms=image.crop_ms,
        warnings=sorted({*doubts, *({_FIRST_PAGE} & {*one.row.warnings})}),
        face_rows=rows,
        file=None,
    )
    return CroppedMember(row, crops)


def _face_row(face: FaceRow, cut: CutFace, path: str | None) -> FaceRow:
    """The row of a face as it was found, with what follows from how it is cut now."""
    crop = Crop(
        *(face.rank, face.page or 0, cut.size, _box(face), face.score, _points(face)),
        *(cut.frame, face.turn or 0, face.sharpness, cut.data),
        # these follow from nothing here, and an older Facecrop may have had none
        *(0.0, 1.0, 0.0, 0.0),
    )
    made = face_row(crop, path, [])
    return replace(face, **{name: getattr(made, name) for name in _OF_CROP})

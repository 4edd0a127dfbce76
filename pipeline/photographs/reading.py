"""Some photographs of a finished batch read again, and made small."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from detection.errors import MachineError
from detection.framing.frame import Frame
from detection.known import KnownFace, KnownFaces, Recut
from detection.result import Box
from detection.sandbox.pool import recut_isolated
from detection.sandbox.protocol import Bounds
from detection.settings import CutSettings
from pipeline.recrop.reading import read_members
from pipeline.retries import retried
from pipeline.settings import MIB, CropSettings
from storage.archives.members import Archive, Chunk, ChunkSize, Entry
from storage.errors import TransientError

SIDE = 400
"""Pixels of the longer side of a small photograph."""

_SMALL = CutSettings(size=SIDE, padding=0, quality=55, border="color")


@dataclass(frozen=True, slots=True)
class Small:
    """A photograph, made small, in the middle of a square.

    Attributes:
        picture: the square, a JPEG.
        inside: x, y, w, h of the photograph in the square, in its pixels.
        boxes: of the faces, likewise, in their order.
    """

    picture: bytes
    inside: Box
    boxes: list[Box]


def small_photographs(
    archive: Archive,
    settings: CropSettings,
    rows: Mapping[int, Mapping[str, Any]],
    faces: Mapping[int, Sequence[Box]],
) -> Iterator[tuple[int, Small]]:
    """Read photographs of a batch again, and make them small, in processes of their own.

    What cannot be read any more, or is another file by now, is left out.

    Args:
        archive: that the batch was made of.
        settings: with which it was.
        rows: `sha256`, `width` and `height` of each photograph, by its index.
        faces: the boxes of each member's faces on its first page, in pixels of the upright image.

    Yields:
        The member's index, and what was made of it.

    Raises:
        TransientError: storage failed on every attempt, or this machine cannot work on images now.
    """

    def images() -> Iterator[tuple[int, KnownFaces, bytes | memoryview]]:
        for entry in _read(archive, settings, sorted(rows)):
            row = rows[entry.index]
            if entry.data and row["sha256"]:
                size = row["width"], row["height"]
                whole = KnownFace(0, (0.0, 0.0, float(size[0]), float(size[1])), None, turn=0)
                yield entry.index, KnownFaces(row["sha256"], size, [whole]), entry.data

    limits = settings.limits
    bounds = Bounds(limits.max_pixels, limits.image_seconds, limits.image_mib)
    try:
        for member, outcome in recut_isolated(images(), [_SMALL], bounds):
            if isinstance(outcome, Recut):
                [[cut]] = outcome.crops
                yield member, _small(cut.data, cut.frame, cut.size, faces.get(member, []))
    except MachineError as error:
        raise TransientError(str(error)) from error


def _read(archive: Archive, settings: CropSettings, members: list[int]) -> Iterator[Entry]:
    """Some members of an archive, and nothing of others where it has an index."""
    size = ChunkSize(settings.chunk.members, settings.chunk.mib * MIB)
    for chunk in archive.chunks(size):
        mine = [one for one in members if chunk.first <= one <= chunk.last]
        if mine:
            yield from retried(partial(_members_of, archive, chunk, mine))


def _members_of(archive: Archive, chunk: Chunk, mine: list[int], last: bool) -> list[Entry]:
    return list(read_members(archive, chunk, mine, last_try=last))


def _small(data: bytes, frame: Frame, size: tuple[int, int], boxes: Iterable[Box]) -> Small:
    matrix = np.asarray(frame.matrix).reshape(2, 3)

    def placed(box: Box) -> Box:
        x, y, w, h = box
        (left, right), (top, bottom) = matrix @ [[x, x + w], [y, y + h], [1, 1]]
        return float(left), float(top), float(right - left), float(bottom - top)

    return Small(data, placed((0, 0, *size)), [placed(box) for box in boxes])

"""Where profiles disagree: faces that some of them find in a member and others do not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from detection.detectors.overlap import iou
from detection.settings import PROFILES, CutSettings
from pipeline.member import crop_members
from pipeline.preview.cropping import Tried, crop_once
from pipeline.settings import CropSettings, KeepSettings, OutputSettings
from storage.archives.members import Chunk, Entry
from storage.errors import StorageError
from storage.output.manifest import FaceRow

_SAME = 0.5
"""IoU from which two boxes are of one face, as in the benchmark `accuracy`."""

_SHOWN = CutSettings(size=240, padding=1.0, quality=80)
"""Crops with room around the face, in which its box is drawn."""


class ProfileError(StorageError):
    """A profile that is to be compared is none, or is named twice."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A face that not all profiles find.

    Attributes:
        path: of its member.
        page: of a file of several pictures, from 0; None where there is one.
        score: the detector's, 0 to 1; None where it gives none.
        pixels: the shorter side of its box, in those of the upright image.
        found: by which profiles.
        picture: JPEG of it and what is around it.
        box: x, y, width and height of its box, in shares of the picture.
    """

    path: str
    page: int | None
    score: float | None
    pixels: float
    found: tuple[str, ...]
    picture: bytes
    box: tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Compared:
    """One member, cropped with the settings that are chosen and with each profile.

    Attributes:
        chosen: with the settings that are chosen.
        profiles: with each profile in their place.
        differences: faces that not all of these find.
    """

    chosen: Tried
    profiles: Mapping[str, Tried] = field(default_factory=dict)
    differences: tuple[Difference, ...] = ()


def profiles_of(names: list[str], settings: CropSettings) -> dict[str, CropSettings]:
    """The settings with each of some profiles, by its name.

    Raises:
        ProfileError: one is none, or named twice.
    """
    for name in names:
        if name not in PROFILES:
            raise ProfileError(f"{name} is no profile; compare some of {', '.join(PROFILES)}")
        if names.count(name) > 1:
            raise ProfileError(f"{name} is to be compared twice; name each profile once")
    return {name: with_profile(settings, name) for name in names}


def with_profile(settings: CropSettings, name: str) -> CropSettings:
    """The settings with another profile, and what was chosen besides as it is."""
    detection = settings.detection.model_copy(update={"profile": name})
    return settings.model_copy(update={"detection": detection})


def compared(
    entry: Entry, chunk: Chunk, chosen: CropSettings, profiles: Mapping[str, CropSettings]
) -> Compared:
    """Crop a member with the chosen settings, then with each profile, so that times compare.

    Raises:
        TransientError, StorageError: see `crop_members`.
    """
    own = crop_once(entry, chunk, chosen, pictured=True)
    tried = {
        name: own if settings == chosen else crop_once(entry, chunk, settings, pictured=False)
        for name, settings in profiles.items()
    }
    return Compared(own, tried, tuple(_differences(entry, chunk, profiles, tried)))


@dataclass(slots=True)
class _Found:
    """One face, by the profiles that find it.

    Attributes:
        box: (4,) float32 x, y, w, h, in pixels of the upright image.
    """

    face: FaceRow
    box: np.ndarray[tuple[int], np.dtype[np.float32]]
    by: list[str]


def _differences(
    entry: Entry, chunk: Chunk, profiles: Mapping[str, CropSettings], tried: Mapping[str, Tried]
) -> Iterator[Difference]:
    odd = [one for one in _together(tried) if len(one.by) < len(tried)]
    for name in dict.fromkeys(one.by[0] for one in odd):
        # once more, in larger crops: how the crops are cut is not to change what is compared
        settings = profiles[name].model_copy(
            update={"crop": _SHOWN, "output": OutputSettings(), "keep": KeepSettings()}
        )
        [member] = crop_members([entry], chunk, settings)
        crops = dict(zip(map(_place, member.row.face_rows), member.crops, strict=True))
        rows = {_place(row): row for row in member.row.face_rows}
        for one in odd:
            place = _place(one.face)
            if one.by[0] == name and place in crops:
                yield Difference(
                    member.row.path,
                    one.face.page if (member.row.pages or 1) > 1 else None,
                    one.face.score,
                    min(one.face.w, one.face.h),
                    tuple(one.by),
                    crops[place],
                    _in_picture(rows[place]),
                )


def _together(tried: Mapping[str, Tried]) -> list[_Found]:
    """The faces of all profiles, each once."""
    found: list[_Found] = []
    for name, one in tried.items():
        others = list(found)
        for face in one.row.face_rows:
            box = np.array([face.x, face.y, face.w, face.h], np.float32)
            near = [other for other in others if other.face.page == face.page]
            overlaps = iou(box, np.array([other.box for other in near])) if near else np.empty(0)
            if near and overlaps.max() >= _SAME:
                same = near[int(overlaps.argmax())]
                same.by.append(name)
                others.remove(same)  # each profile's faces are of different people
            else:
                found.append(_Found(face, box, [name]))
    return found


def _place(face: FaceRow) -> tuple[int | None, float, float, float, float]:
    """What tells a face from others in runs of the same profile."""
    return face.page, round(face.x, 1), round(face.y, 1), round(face.w, 1), round(face.h, 1)


def _in_picture(face: FaceRow) -> tuple[float, float, float, float]:
    """The box of a face in its crop, in shares of that, as far as it is not past the border."""
    assert face.matrix
    assert face.crop_w
    assert face.crop_h
    matrix = np.array(face.matrix).reshape(2, 3)
    corners = [(x, y, 1) for x in (face.x, face.x + face.w) for y in (face.y, face.y + face.h)]
    placed = np.clip(matrix @ np.array(corners).T / [[face.crop_w], [face.crop_h]], 0, 1)
    (left, top), (right, bottom) = placed.min(axis=1), placed.max(axis=1)
    return float(left), float(top), float(right - left), float(bottom - top)

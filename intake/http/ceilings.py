"""An operator's ceilings over what a client's settings may ask of the workers."""

from __future__ import annotations

import math
from typing import Any

from detection.options import MOST_CROP_SIDE, crop_size
from detection.settings import CutSettings
from intake.http.problems import ProblemError
from intake.http.settings import ServiceSettings
from pipeline.settings import CropSettings

_MOST = {
    "max_pixels": ("limits", "max_pixels"),
    "max_member_mib": ("limits", "max_member_mib"),
    "max_nested_mib": ("limits", "max_nested_mib"),
    "max_nested": ("input", "nested"),
    "max_image_seconds": ("limits", "image_seconds"),
    "max_image_mib": ("limits", "image_mib"),
    "max_chunk_mib": ("chunk", "mib"),
    "max_threads": ("run", "threads"),
    "max_shards_at_once": ("run", "shards_at_once"),
    "max_side": ("detection", "side"),
}
"""A client's setting, by the service's setting that is its ceiling."""

# the less there is in a unit of work, the more of them a batch costs the Prefect server
_LEAST = {
    "min_chunk_members": ("chunk", "members"),
    "min_chunk_mib": ("chunk", "mib"),
    "min_shard_members": ("run", "shard_members"),
}
_ZIP_CHUNK_MIB = 256  # the most that a chunk has where its setting is 0


def hold(asked: CropSettings, service: ServiceSettings) -> CropSettings:
    """The settings of a batch, none of them beyond what the operator allows.

    A client that asks for too much is told. What it left out comes down to the ceiling.

    Raises:
        ProblemError: it asked for too much; it names all of that.
    """
    held: dict[str, dict[str, Any]] = {}
    refused = []
    for name, (group, field) in {**_MOST, **_LEAST}.items():
        bound, value = getattr(service, name), getattr(getattr(asked, group), field)
        does = _effective(asked, name, value, service)
        if does >= bound if name in _LEAST else does <= bound:
            continue
        if value and _was_asked(asked, group, field):
            way = "at least" if name in _LEAST else "at most"
            refused.append(f"settings.{group}.{field}: should be {way} {bound} at this service")
        held.setdefault(group, {})[field] = bound
    most = service.max_crop_size
    sides = _sides(asked.crop)
    if max(_sides(asked.crop.spelled_out()).values()) > most:
        by = next((field for field, side in sides.items() if side > most), "preset")
        if _was_asked(asked, "crop", by):
            refused.append(
                f"settings.crop.{by}: crops should be at most {most} pixels a side at this service"
            )
        held["crop"] = {"size": most}
    if asked.input.follow_links == "yes" and service.follow_links == "no":
        refused.append("settings.input.follow_links: links are not followed at this service")
    if refused:
        raise ProblemError(422, "; ".join(refused))
    return asked.model_copy(
        update={
            group: getattr(asked, group).model_copy(update=fields) for group, fields in held.items()
        }
    )


def _sides(crop: CutSettings) -> dict[str, int]:
    """The sides that crops may have, by the setting that says so."""
    if crop_size(crop) == (0, 0):
        return {"size": MOST_CROP_SIDE}
    sides = {"width": crop.width, "height": crop.height}
    return sides if all(sides.values()) else {**sides, "size": crop.size}


def _effective(asked: CropSettings, name: str, value: int, service: ServiceSettings) -> float:
    """What a setting comes to: 0 leaves it to the archive, the profile or the worker."""
    if name in ("max_chunk_mib", "min_chunk_mib"):
        return value or _ZIP_CHUNK_MIB
    if name == "max_side":
        return asked.detection.passes.side
    if name == "max_threads" and not value:  # one a core, of which the worker may have any number
        return math.inf if name in service.model_fields_set else 0
    return value


def _was_asked(settings: CropSettings, group: str, field: str) -> bool:
    return group in settings.model_fields_set and field in getattr(settings, group).model_fields_set

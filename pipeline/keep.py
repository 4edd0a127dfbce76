"""Whether a face is worth keeping, by the thresholds of the batch."""

from __future__ import annotations

from enum import StrEnum

from detection.result import Crop
from pipeline.settings import KeepSettings


class Reject(StrEnum):
    """The closed set of reasons not to keep a face."""

    LOW_SHARPNESS = "low_sharpness"
    HIGH_YAW = "high_yaw"
    SMALL_FACE = "small_face"
    LOW_SCORE = "low_score"


def rejects(crop: Crop, keep: KeepSettings) -> list[Reject]:
    """Why a face is not to be kept; nothing where it is.

    What a detector does not tell, a score or landmarks, is held against no face.
    """
    look = crop.look if keep.max_yaw else None
    fails = {
        Reject.LOW_SHARPNESS: crop.sharpness < keep.min_sharpness,
        Reject.HIGH_YAW: look is not None and abs(look[0]) > keep.max_yaw,
        Reject.SMALL_FACE: min(crop.box[2:]) < keep.min_face,
        Reject.LOW_SCORE: crop.score is not None and crop.score < keep.min_score,
    }
    return [reason for reason, failed in fails.items() if failed]

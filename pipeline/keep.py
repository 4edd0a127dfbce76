"""Whether a face is worth keeping, by the thresholds of the batch."""

from __future__ import annotations

from detection.result import Crop
from facecrop.errors import Code
from pipeline.settings import KeepSettings


class Reject(Code):
    """The closed set of reasons not to keep a face."""

    LOW_SHARPNESS = "low_sharpness", "its sharpness is below `--keep-min-sharpness`"
    HIGH_YAW = "high_yaw", "it is turned to a side by more than `--keep-max-yaw` degrees"
    SMALL_FACE = "small_face", "the shorter side of its box is below `--keep-min-face` pixels"
    LOW_SCORE = "low_score", "the detector's score is below `--keep-min-score`"


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

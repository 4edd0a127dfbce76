"""One image in a child process."""

from detection.image import Image
from detection.messages import Bounds
from detection.sandbox import crop_each_apart
from detection.settings import CutSettings, DetectionSettings

DETECTION, CUT = DetectionSettings(), CutSettings()


def crop_apart(
    data: bytes | memoryview,
    bounds: Bounds,
    detection: DetectionSettings = DETECTION,
    cut: CutSettings = CUT,
) -> tuple[Image, str]:
    """What became of the only image at a child; raises what keeps it from being cropped."""
    [(_, outcome)] = crop_each_apart([("", data)], detection, cut, bounds)
    if isinstance(outcome, Exception):
        raise outcome
    return outcome

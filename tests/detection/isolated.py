"""One image in a child process."""

from detection.result import Image
from detection.sandbox.pool import crop_isolated
from detection.sandbox.protocol import Bounds
from detection.settings import CutSettings, DetectionSettings

DETECTION, CUT = DetectionSettings(), CutSettings()


def crop_one_isolated(
    data: bytes | memoryview,
    bounds: Bounds,
    detection: DetectionSettings = DETECTION,
    cut: CutSettings = CUT,
) -> tuple[Image, str]:
    """The result of one image, and its digest; raises what keeps it from being cropped."""
    [(_, outcome)] = crop_isolated([("", data)], detection, cut, bounds)
    if isinstance(outcome, Exception):
        raise outcome
    return outcome

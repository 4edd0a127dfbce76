"""One photo cropped from file to files: the work of a queue that takes a task an image.

It is done with the same functions as in a batch; what a queue adds to it is what differs.
"""

from __future__ import annotations

import threading
from pathlib import Path

import cv2

from detection.detectors.base import Detector
from detection.errors import ImageError
from detection.image import crop_faces, make_detector
from detection.settings import CutSettings, DetectionSettings

_MAX_PIXELS = 1_000_000_000  # nothing is refused
_DETECTION, _CUT = DetectionSettings(), CutSettings()
_of_thread = threading.local()


def crop_one(photo: str, output: str) -> int:
    """Crops the faces of a photo into a folder, and returns how many there were."""
    try:
        image = crop_faces(Path(photo).read_bytes(), _detector(), _DETECTION, _CUT, _MAX_PIXELS)
    except ImageError:
        return 0
    for crop in image.crops:
        Path(output, f"{Path(photo).stem}_{crop.rank}.jpg").write_bytes(crop.data)
    return len(image.crops)


def _detector() -> Detector:
    """This thread's own."""
    if not hasattr(_of_thread, "detector"):
        cv2.setNumThreads(1)  # as in the processes that a batch crops in
        _of_thread.detector = make_detector(_DETECTION)
    detector: Detector = _of_thread.detector
    return detector

"""CPU time of one image, split at the detector: the one seam of `crop_faces` that is handed in."""

from __future__ import annotations

from dataclasses import dataclass
from time import thread_time

import numpy as np
from numpy.typing import NDArray

from detection.detectors.base import Detector, Faces
from detection.image import crop_faces
from detection.result import Image
from detection.settings import CutSettings, DetectionSettings


@dataclass(frozen=True, slots=True)
class Split:
    """CPU seconds of the calling thread on one image.

    Attributes:
        decode: header, decoding, shrinking to the detector's size.
        detect: the detector; where it is asked more than once, all between its first and last.
        crop: a finer decoding where a crop needs it, cutting, encoding.
    """

    decode: float
    detect: float
    crop: float


class _Noted:
    """A detector that notes when it began and ended, in CPU seconds of its thread."""

    def __init__(self, detector: Detector) -> None:
        self._detector = detector
        self.began = self.ended = 0.0

    def detect(self, image: NDArray[np.uint8]) -> Faces:
        self.began = self.began or thread_time()
        faces = self._detector.detect(image)
        self.ended = thread_time()
        return faces


def crop_faces_timed(
    data: bytes | memoryview,
    detector: Detector,
    detection: DetectionSettings,
    crop: CutSettings,
    max_pixels: int,
) -> tuple[Image, Split]:
    """`detection.image.crop_faces`, and what it cost."""
    noted = _Noted(detector)
    started = thread_time()
    image = crop_faces(data, noted, detection, crop, max_pixels)
    done = thread_time()
    return image, Split(noted.began - started, noted.ended - noted.began, done - noted.ended)

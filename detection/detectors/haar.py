"""The Viola-Jones cascade (2001) that OpenCV ships: the detector of the system before this one."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from detection.detectors.base import Faces

SCALE_STEP = 1.1
MIN_NEIGHBOURS = 5


class Haar:
    """OpenCV's frontal-face cascade, for one thread."""

    def __init__(self) -> None:
        folder = Path(cv2.__file__).parent / "data"
        self._cascade = cv2.CascadeClassifier(str(folder / "haarcascade_frontalface_default.xml"))

    def detect(self, image: NDArray[np.uint8]) -> Faces:
        """Faces in an upright (h, w, 3) uint8 BGR image; without scores, without landmarks."""
        grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        found = self._cascade.detectMultiScale(
            grey, scaleFactor=SCALE_STEP, minNeighbors=MIN_NEIGHBOURS
        )
        boxes = np.asarray(found, dtype=np.float32).reshape(-1, 4)
        return Faces(
            boxes,
            np.full(len(boxes), np.nan, dtype=np.float32),
            np.full((len(boxes), 5, 2), np.nan, dtype=np.float32),
        )

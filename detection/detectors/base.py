"""What every detector gives and takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

LANDMARKS = ("right_eye", "left_eye", "nose", "right_mouth", "left_mouth")
"""The order of a face's five points; right and left are the person's own."""


@dataclass(frozen=True, slots=True)
class Faces:
    """n faces of one image, in pixels of that image.

    Attributes:
        boxes: (n, 4) float32: x, y, w, h.
        scores: (n,) float32, 0 to 1; NaN from a detector that gives none.
        landmarks: (n, 5, 2) float32: x, y in the order of LANDMARKS; NaN where there are none.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    landmarks: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.boxes)

    def take(self, indexes: NDArray[np.intp]) -> Faces:
        """The faces at `indexes`, in that order."""
        return Faces(self.boxes[indexes], self.scores[indexes], self.landmarks[indexes])

    def scaled(self, x: float, y: float) -> Faces:
        """The same faces in an image `x` times as wide and `y` times as high."""
        factors = np.array([x, y], dtype=np.float32)
        return Faces(self.boxes * np.tile(factors, 2), self.scores, self.landmarks * factors)

    def moved(self, x: float, y: float) -> Faces:
        """The same faces, so many pixels further to the right and down."""
        by = np.array([x, y], dtype=np.float32)
        boxes = self.boxes + np.array([x, y, 0, 0], dtype=np.float32)
        return Faces(boxes, self.scores, self.landmarks + by)


NO_FACES = Faces(
    np.empty((0, 4), np.float32), np.empty(0, np.float32), np.empty((0, 5, 2), np.float32)
)


class Detector(Protocol):
    """Finds faces. Keeps buffers of its own, so each thread has one for itself."""

    def detect(self, image: NDArray[np.uint8]) -> Faces:
        """Faces in an upright (h, w, 3) uint8 BGR image, in any order."""
        ...

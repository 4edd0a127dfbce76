"""Crops that many people want, by name: what each sets, where a person has chosen nothing else.

The figures are of the sources named here and in docs/crop/crops.md. They say how a crop is
framed, and no authority has been asked whether it takes one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

Preset = Literal["none", "id-35x45", "us-2x2", "school-4x5", "avatar", "dataset-112"]

PRESETS: Mapping[Preset, Mapping[str, int | float | str]] = {
    "none": {},
    # 35 x 45 mm at 300 dpi. ICAO Doc 9303-3: the head is 70 to 80 % of the picture's height.
    "id-35x45": {
        "width": 413, "height": 531, "align": "level", "frame": "head",
        "head_height": 0.74, "eye_line": 0.48,
    },
    # The U.S. Department of State's digital image: from 600 x 600 pixels, the head 50 to 69 % of
    # the height, the eyes 56 to 69 % of it above the lower edge.
    "us-2x2": {
        "width": 600, "height": 600, "align": "level", "frame": "head",
        "head_height": 0.59, "eye_line": 0.4,
    },
    # What yearbooks take at least (PSPA), with shoulders. Neither here nor in an avatar does one
    # want stripes past the border.
    "school-4x5": {
        "width": 640, "height": 800, "align": "level", "frame": "head",
        "head_height": 0.5, "eye_line": 0.4, "border": "shrink",
    },
    # a circle around the middle cuts no head
    "avatar": {
        "width": 512, "height": 512, "align": "level", "frame": "head",
        "head_height": 0.62, "eye_line": 0.47, "border": "shrink",
    },
    "dataset-112": {"width": 112, "height": 112, "align": "arcface"},
}  # fmt: skip

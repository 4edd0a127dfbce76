"""Keeping modules that lie where the user stands out of the processes that are started.

A photo folder may hold a `cv2.py` or a `json.py`. `python -m` would take it, as it looks into the
current folder first, and so would any relative or empty entry of PYTHONPATH.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


def safe_path(environment: Mapping[str, str], *first: str) -> dict[str, str]:
    """The variables that keep Python from importing anything from the current folder.

    Args:
        environment: what a user has set for PYTHONPATH stays, but for what is relative.
        first: folders that come before it.
    """
    users = environment.get("PYTHONPATH", "").split(os.pathsep)
    path = [*first, *(entry for entry in users if Path(entry).is_absolute())]
    return {"PYTHONSAFEPATH": "1", "PYTHONPATH": os.pathsep.join(path)}

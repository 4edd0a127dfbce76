"""One image in a child process, and the end of one."""

import time
from pathlib import Path

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


def gone(pid: int, within: float) -> bool:
    """Whether a process, which may be waited for by nobody, ends in so many seconds."""
    give_up = time.monotonic() + within
    while time.monotonic() < give_up:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False

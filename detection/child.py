"""The process that images are worked on in, one after the other: run with `python -m`.

It reads requests from its standard input until that ends, as it does when its parent is gone, and
answers each on its standard output before it reads the next.
"""

from __future__ import annotations

import contextlib
import faulthandler
import hashlib
import json
import mmap
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

import cv2

from detection.detector import Detector
from detection.errors import ImageError, ImageErrorCode
from detection.image import crop_faces, make_detector
from detection.messages import Bounds, receive, send, to_reply
from detection.settings import CutSettings, DetectionSettings

if sys.platform != "win32":
    import resource

_MIB = 1 << 20


def main() -> None:
    """The child: works on images until there are no more."""
    for stop in (signal.SIGINT, signal.SIGTERM):  # meant for the parent, whose end is the child's
        signal.signal(stop, signal.SIG_IGN)
    with contextlib.suppress(OSError):  # where memory runs out, an image is lost, not its batch
        Path("/proc/self/oom_score_adj").write_text("500")
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints is no reply
    with Path(os.devnull).open("wb") as nowhere, contextlib.suppress(EOFError, BrokenPipeError):
        work: _Work | None = None
        unused = _data_bytes()
        while True:
            settings, data = receive(requests)
            if settings:
                work = _Work(unused, *json.loads(settings))
            assert work is not None
            faulthandler.dump_traceback_later(work.bounds.seconds, exit=True, file=nowhere)
            reply, blob = work.crop(data)
            faulthandler.cancel_dump_traceback_later()
            send(replies, json.dumps(reply).encode(), blob)


class _Work:
    """What the child does to each image with the same settings."""

    def __init__(
        self, unused: int, detection: dict[str, Any], cut: dict[str, Any], bounds: dict[str, Any]
    ) -> None:
        self._unused = unused
        self.bounds = Bounds(**bounds)
        self._detection = DetectionSettings.model_validate(detection)
        self._cut = CutSettings.model_validate(cut)
        self._detector: Detector | None = None

    def crop(self, data: bytes) -> tuple[dict[str, Any], bytes]:
        """The reply about one image, and the bytes of its crops."""
        try:
            if self._detector is None:
                self._detector = make_detector(self._detection)
                _bound(self.bounds.memory_mib, self._unused)
            image = crop_faces(
                data, self._detector, self._detection, self._cut, self.bounds.max_pixels
            )
            reply, crops = to_reply(image)
            return {**reply, "sha256": hashlib.sha256(data).hexdigest()}, crops
        except ImageError as error:
            return {"error": error.code.value, "message": str(error)}, b""
        except Exception as error:  # noqa: BLE001 the parent says it, with the image's name
            if not _for_want_of_memory(error):
                return {"failure": type(error).__name__, "trace": traceback.format_exc()}, b""
            message = f"It needs more than the {self.bounds.memory_mib} MiB of memory allowed "
            code = ImageErrorCode.TOO_MUCH_MEMORY.value
            return {"error": code, "message": f"{message}(limits.image_mib)."}, b""


def _for_want_of_memory(error: Exception) -> bool:
    no_memory = isinstance(error, cv2.error) and error.code == cv2.Error.StsNoMem
    return no_memory or isinstance(error, MemoryError)


def _bound(memory_mib: int, unused: int) -> None:
    """Keeps this process from having more memory than it has unused, and so much."""
    if sys.platform != "win32":
        _, most = resource.getrlimit(resource.RLIMIT_DATA)
        wanted = unused + memory_mib * _MIB
        soft = wanted if most == resource.RLIM_INFINITY else min(wanted, most)
        resource.setrlimit(resource.RLIMIT_DATA, (soft, most))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # an image that crashes leaves no dump


def _data_bytes() -> int:
    """What of this process counts for RLIMIT_DATA: proc(5), statm."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[5]) * mmap.PAGESIZE
    except OSError:
        return 0


if __name__ == "__main__":
    main()

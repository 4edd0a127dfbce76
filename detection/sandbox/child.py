"""The process that images are worked on in, one after the other: run with `python -m`.

It reads requests from its standard input until that ends, as it does when its parent is gone, and
answers each on its standard output before it reads the next.
"""

from __future__ import annotations

import contextlib
import errno
import faulthandler
import hashlib
import json
import mmap
import os
import signal
import sys
import traceback
from abc import ABC, abstractmethod
from pathlib import Path
from typing import IO, Any

import cv2
import numpy as np

from detection.codecs.decode import lift_pillows_bound
from detection.detectors.base import Detector
from detection.errors import ImageError, ImageErrorCode, is_machines, one_line
from detection.image import crop_faces, make_detector
from detection.options import Cover, CutOptions, DetectionOptions, DetectionPasses
from detection.recut import recut
from detection.sandbox.protocol import (
    Bounds,
    printable_trace,
    receive,
    send,
    send_ready,
    to_known,
    to_recut_reply,
    to_reply,
)

if sys.platform != "win32":
    import resource

_MIB = 1 << 20
_BLACK = np.zeros((64, 64, 3), np.uint8)


def main() -> None:
    """Work on images until there are no more."""
    cv2.setNumThreads(1)  # the parallelism is one image a process
    lift_pillows_bound()
    for stop in (signal.SIGINT, signal.SIGTERM):  # meant for the parent, whose end ends the child
        signal.signal(stop, signal.SIG_IGN)
    with contextlib.suppress(OSError):  # where memory runs out, an image is lost, not its batch
        Path("/proc/self/oom_score_adj").write_text("500")
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints is no reply
    if sys.platform != "win32":
        os.set_blocking(2, False)  # nobody reads it while this lives: what it does not hold is lost
    with Path(os.devnull).open("w") as nowhere, contextlib.suppress(EOFError, BrokenPipeError):
        work: _Work | None = None
        unused = _data_bytes()
        number = 0
        while True:
            text, data = receive(requests)
            if text and not data:
                work = None  # frees its detector for the next one
                work, fault, why = _prepared(unused, text, nowhere)
                sys.stderr = nowhere  # the pipe behind it takes only so much
                send_ready(replies, fault, why)
                continue
            assert work is not None
            number += 1
            reply, blob = work.answer(text, data)
            send(replies, json.dumps({"number": number, **reply}).encode(), blob)


def _prepared(unused: int, settings: bytes, nowhere: IO[str]) -> tuple[_Work | None, str, str]:
    """What works on images; or None, and whose fault that is, and why."""
    try:
        job = json.loads(settings)
        return (_Recut if "cuts" in job else _Search)(unused, nowhere, **job), "", ""
    except Exception as error:  # noqa: BLE001 the parent says it
        machines = is_machines(error) or _lacks_memory(error) or isinstance(error, OSError)
        said = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        return None, "machine" if machines else "detector", one_line(said)


class _Work(ABC):
    """A job: what the child does with each image.

    Making one needs all that an image needs but its bytes, so a shortage of the machine shows here.
    """

    def __init__(self, unused: int, nowhere: IO[str], bounds: dict[str, Any]) -> None:
        self._bounds = Bounds(**bounds)
        self._nowhere = nowhere
        self._watch()
        try:
            self._try()
        finally:
            faulthandler.cancel_dump_traceback_later()
        _bound(self._bounds.memory_mib, unused)

    @abstractmethod
    def _try(self) -> None:
        """Do once what is done for each image, as far as that costs."""

    @abstractmethod
    def _result(self, text: bytes, data: bytes) -> tuple[dict[str, Any], bytes]:
        """The reply about one image, and the bytes of its crops.

        Args:
            text: what was said about it.
            data: the file.
        """

    def answer(self, text: bytes, data: bytes) -> tuple[dict[str, Any], bytes]:
        """As `_result`; where that fails, why."""
        try:
            self._watch()
            reply, crops = self._result(text, data)
            if len(crops) > self._bounds.crops_bytes:
                raise MemoryError
            return reply, crops
        except ImageError as error:
            return {"error": error.code.value, "message": one_line(str(error))}, b""
        except Exception as error:  # noqa: BLE001 the parent says it, with the image's name
            if _lacks_memory(error):
                message = f"It needs more than the {self._bounds.memory_mib} MiB of memory allowed "
                code = ImageErrorCode.TOO_MUCH_MEMORY.value
                return {"error": code, "message": f"{message}(limits.image_mib)."}, b""
            if is_machines(error):
                return {"machine": one_line(f"{type(error).__name__}: {error}")}, b""
            trace = printable_trace(traceback.format_exc())
            return {"failure": type(error).__name__, "trace": trace}, b""
        finally:
            faulthandler.cancel_dump_traceback_later()

    def _watch(self) -> None:
        faulthandler.dump_traceback_later(self._bounds.seconds, exit=True, file=self._nowhere)


class _Search(_Work):
    """Faces are found and cut out."""

    def __init__(
        self,
        unused: int,
        nowhere: IO[str],
        detection: dict[str, Any],
        cut: dict[str, Any],
        bounds: dict[str, Any],
        cover: Cover | None,
    ) -> None:
        passes = DetectionPasses(**detection.pop("passes"))
        self._detection = DetectionOptions(**detection, passes=passes)
        self._cut = CutOptions(**cut)
        self._cover = cover
        super().__init__(unused, nowhere, bounds)

    def _try(self) -> None:
        self._detector: Detector = make_detector(self._detection)
        self._detector.detect(_BLACK)

    def _result(self, text: bytes, data: bytes) -> tuple[dict[str, Any], bytes]:
        bounds = self._bounds.max_pixels, self._bounds.memory_mib
        options = self._detection, self._cut, *bounds, self._cover
        image = crop_faces(data, self._detector, *options)
        reply, crops = to_reply(image)
        return {**reply, "sha256": hashlib.sha256(data).hexdigest()}, crops


class _Recut(_Work):
    """Faces that are known are cut out."""

    def __init__(
        self, unused: int, nowhere: IO[str], cuts: list[dict[str, Any]], bounds: dict[str, Any]
    ) -> None:
        self._cuts = [CutOptions(**cut) for cut in cuts]
        super().__init__(unused, nowhere, bounds)

    def _try(self) -> None:
        """Nothing costs but the images themselves."""

    def _result(self, text: bytes, data: bytes) -> tuple[dict[str, Any], bytes]:
        known = to_known(text)
        bounds = self._bounds.max_pixels, self._bounds.memory_mib
        return to_recut_reply(recut(data, known, self._cuts, *bounds), known)


def _lacks_memory(error: Exception) -> bool:
    if isinstance(error, cv2.error):
        return bool(error.code == cv2.Error.StsNoMem)
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    # onnxruntime has exceptions of its own, and C++'s words for it, and so has the dynamic linker
    return (
        isinstance(error, MemoryError)
        or (isinstance(error, ImportError) and "Cannot allocate memory" in str(error))
        or "bad_alloc" in str(error)
        or ("bad allocation" in str(error) or "Failed to allocate memory" in str(error))
    )


def _bound(memory_mib: int, unused: int) -> None:
    """Bound this process's memory to what it had at its start and so much more."""
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

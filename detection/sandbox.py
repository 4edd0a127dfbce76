"""One image in a process of its own, whose end, whatever brings it, is that image's alone.

Decoders are native code, and files come from anywhere: one may crash its process, hang, or take
all the memory that there is. So images are handed to child processes, one at a time to each. A
child that dies is replaced, and its image is tried once more, as the machine may have been at
fault. See docs/decisions/0013-sandbox.md for what that costs.

The child is this module, run with `python -m`. It reads requests from its standard input until
that ends, as it does when its parent is gone, and answers on its standard output. Both are the
lengths of a JSON text and of some bytes, and then these two. Nothing is unpickled, as a child may
be what a hostile image has made of it.
"""

from __future__ import annotations

import atexit
import contextlib
import faulthandler
import hashlib
import json
import logging
import mmap
import os
import signal
import struct
import subprocess
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

import cv2

from detection.detector import Detector
from detection.errors import ImageError, ImageErrorCode
from detection.geometry import Square
from detection.image import Crop, Image, crop_faces, make_detector
from detection.settings import CutSettings, DetectionSettings

if sys.platform != "win32":
    import fcntl
    import resource

COMMAND: Sequence[str] = (sys.executable, "-m", "detection.sandbox")
"""What a child runs."""

_LENGTHS = struct.Struct("<QQ")
_PIPE_BYTES = 1 << 20  # so that most photographs need one write; 64 KiB where that is refused
_MIB = 1 << 20
_TRIES = 2
_OVERDUE = 1  # exit code of faulthandler's watchdog
_KEPT_FREE = 1 << 26  # bytes: glibc keeps what is freed instead of having it zeroed again
_MALLOC = {
    **dict.fromkeys(("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"), str(_KEPT_FREE)),
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",  # pages of 2 MiB where the system leaves the choice
}
_log = logging.getLogger(__name__)
_idle: list[_Child] = []


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one image may take.

    Attributes:
        max_pixels: bound on width times height.
        seconds: from its bytes to its crops.
        memory_mib: beside what the process has that works on it; kept where the system can, as
            Linux does.
    """

    max_pixels: int
    seconds: int
    memory_mib: int


class UnforeseenError(Exception):
    """Facecrop itself failed on an image: it has to be mended.

    Attributes:
        kind: name of the exception in the child, whose traceback is the message.
    """

    def __init__(self, kind: str, trace: str) -> None:
        super().__init__(trace)
        self.kind = kind


def crop_faces_apart(
    data: bytes | memoryview, detection: DetectionSettings, crop: CutSettings, bounds: Bounds
) -> tuple[Image, str]:
    """`detection.image.crop_faces` in a child process.

    A child that is done waits for the next image, and ends with this process.

    Returns:
        What it gives, and the SHA-256 of the bytes in hex: the child has them in its cache.

    Raises:
        ImageError: the bytes give no picture, or none within the bounds.
        UnforeseenError: something else went wrong in the child.
    """
    settings = _as_json(detection, crop, bounds)
    ended = ""
    for _ in range(_TRIES):
        child = _idle.pop() if _idle else _Child()
        started = time.monotonic()
        try:
            done = child.crop(data, settings)
        except EOFError:
            code = child.end()
            if code == _OVERDUE and time.monotonic() - started >= bounds.seconds:
                raise ImageError(
                    ImageErrorCode.TOO_SLOW,
                    f"It took longer than the {bounds.seconds} s allowed (limits.image_seconds).",
                ) from None
            ended = _how(code)
            _log.warning("The process that worked on an image ended (%s).", ended)
        except UnforeseenError:
            _idle.append(child)
            raise
        except ImageError as error:
            if error.code is ImageErrorCode.TOO_MUCH_MEMORY:
                child.end()  # what it keeps of that would be wanting to its next image
            else:
                _idle.append(child)
            raise
        except BaseException:  # nobody knows what the child will say next
            child.end()
            raise
        else:
            _idle.append(child)
            return done
    raise ImageError(
        ImageErrorCode.DECODER_CRASHED,
        f"It ended the process that worked on it {_TRIES} times ({ended}).",
    )


class _Child:
    """The parent's side of one child process."""

    def __init__(self) -> None:
        paths = [str(Path(__file__).resolve().parents[1]), os.environ.get("PYTHONPATH", "")]
        self._process = subprocess.Popen(
            COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | _MALLOC | {"PYTHONPATH": os.pathsep.join(filter(None, paths))},
            # Ctrl-C in a terminal goes to a whole group, and is for the parent alone
            process_group=None if sys.platform == "win32" else 0,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._requests, self._replies = self._process.stdin, self._process.stdout
        if sys.platform == "linux":
            with contextlib.suppress(OSError):  # a user may have only so many large pipes
                fcntl.fcntl(self._requests, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        self.pid = self._process.pid
        self._settings = b""

    def crop(self, data: bytes | memoryview, settings: bytes) -> tuple[Image, str]:
        """An image and its digest; EOFError where the child did not live to tell."""
        changed = b"" if settings == self._settings else settings
        self._settings = settings
        try:
            _send(self._requests, changed, data)
        except OSError:
            raise EOFError from None
        text, blob = _receive(self._replies)
        reply = json.loads(text)
        if "error" in reply:
            raise ImageError(ImageErrorCode(reply["error"]), reply["message"])
        if "failure" in reply:
            raise UnforeseenError(reply["failure"], reply["trace"])
        digest = reply.pop("sha256")
        return _read_image(reply, blob), digest

    def end(self) -> int:
        """Ends the child, if it has not ended; gives its exit code, or minus the signal."""
        self._process.kill()
        for pipe in (self._requests, self._replies):
            with contextlib.suppress(OSError):
                pipe.close()
        return self._process.wait()


def _how(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    with contextlib.suppress(ValueError):
        return signal.Signals(-code).name
    return f"signal {-code}"


def idle_pids() -> list[int]:
    """Process ids of the children that wait for an image."""
    return [child.pid for child in _idle]


@atexit.register
def end_idle() -> None:
    """Ends the children that wait for an image."""
    while _idle:
        _idle.pop().end()


@lru_cache(maxsize=1)
def _as_json(detection: DetectionSettings, crop: CutSettings, bounds: Bounds) -> bytes:
    groups = [detection.model_dump(mode="json"), crop.model_dump(mode="json"), asdict(bounds)]
    return json.dumps(groups).encode()


def _send(pipe: IO[bytes], text: bytes, blob: bytes | memoryview) -> None:
    head = _LENGTHS.pack(len(text), len(blob)) + text
    sent = 0
    if sys.platform != "win32":
        # at once, or the other side is woken for the head, too, and takes someone's turn on a core
        sent = os.writev(pipe.fileno(), [head, blob])
    pipe.write(head[sent:])
    pipe.write(memoryview(blob)[max(0, sent - len(head)) :])
    pipe.flush()


def _receive(pipe: IO[bytes]) -> tuple[bytes, bytes]:
    text, blob = _LENGTHS.unpack(_read(pipe, _LENGTHS.size))
    return _read(pipe, text), _read(pipe, blob)


def _read(pipe: IO[bytes], size: int) -> bytes:
    data = pipe.read(size)
    if len(data) < size:
        raise EOFError
    return data


def _write_image(image: Image) -> tuple[dict[str, Any], bytes]:
    crops = [{**asdict(crop), "data": len(crop.data)} for crop in image.crops]
    return {**asdict(replace(image, crops=[])), "crops": crops}, b"".join(
        crop.data for crop in image.crops
    )


def _read_image(reply: dict[str, Any], blob: bytes) -> Image:
    crops, at = [], 0
    for crop in reply["crops"]:
        x, y, w, h = crop["box"]
        points = crop["landmarks"]
        data = blob[at : at + crop["data"]]
        at += len(data)
        crops.append(
            Crop(
                crop["rank"],
                (x, y, w, h),
                crop["score"],
                None if points is None else tuple((x, y) for x, y in points),
                Square(*crop["square"]),
                crop["sharpness"],
                data,
            )
        )
    return Image(**{**reply, "crops": crops})


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
            settings, data = _receive(requests)
            if settings:
                work = _Work(unused, *json.loads(settings))
            assert work is not None
            faulthandler.dump_traceback_later(work.bounds.seconds, exit=True, file=nowhere)
            reply, blob = work.crop(data)
            faulthandler.cancel_dump_traceback_later()
            _send(replies, json.dumps(reply).encode(), blob)


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
            reply, crops = _write_image(image)
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

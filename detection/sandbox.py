"""One image in a process of its own, whose end, whatever brings it, is that image's alone.

Decoders are native code, and files come from anywhere: one may crash its process, hang, or take
all the memory that there is. So images are handed to child processes, `detection.child`, which work
on one at a time. A child that dies is replaced, and its image is tried once more, as the machine
may have been at fault. See docs/decisions/0013-sandbox.md for what that costs.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import logging
import mmap
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Generic, TypeAlias, TypeVar

from detection.errors import ImageError, ImageErrorCode
from detection.image import Image
from detection.messages import Bounds, from_reply, receive, send
from detection.settings import CutSettings, DetectionSettings

if sys.platform != "win32":
    import fcntl

COMMAND: Sequence[str] = (sys.executable, "-m", "detection.child")
"""What a child runs."""

_PIPE_BYTES = 1 << 20  # so that most photographs need one write; 64 KiB where that is refused
_TRIES = 2
_AT_A_CHILD = 2  # images: one that it works on, and the next
_OVERDUE = 1  # exit code of faulthandler's watchdog
_KEPT_FREE = 1 << 26  # bytes: glibc keeps what is freed instead of having it zeroed again
_MALLOC = {
    **dict.fromkeys(("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"), str(_KEPT_FREE)),
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",  # pages of 2 MiB where the system leaves the choice
}
_TOO_MUCH_MEMORY = ImageErrorCode.TOO_MUCH_MEMORY
_log = logging.getLogger(__name__)
_idle: list[_Child] = []


class UnforeseenError(Exception):
    """Facecrop itself failed on an image: it has to be mended.

    Attributes:
        kind: name of the exception in the child, whose traceback is the message.
    """

    def __init__(self, kind: str, trace: str) -> None:
        super().__init__(trace)
        self.kind = kind


Outcome: TypeAlias = tuple[Image, str] | ImageError | UnforeseenError
"""What became of an image: its faces, with the SHA-256 of its bytes in hex, which the child has in
its cache; or why its bytes give no picture, or none within the bounds; or what failed in the child.
"""

Key = TypeVar("Key")


def crop_each_apart(
    images: Iterable[tuple[Key, bytes | memoryview]],
    detection: DetectionSettings,
    crop: CutSettings,
    bounds: Bounds,
) -> Iterator[tuple[Key, Outcome]]:
    """`detection.image.crop_faces` of each image in a child process, in their order.

    A child is sent the next image while it works on one, where its pipe holds that, so that it need
    not wait. When there are no more it waits for another call, and it ends with this process.

    Args:
        images: each with what the caller knows it by.
        detection, crop, bounds: of all of them.
    """
    line = _Line[Key](_as_json(detection, crop, bounds), bounds.seconds)
    try:
        for key, data in images:
            while not line.has_room(len(data)):
                yield line.answer()
            line.send(key, data)
        while line.sent:
            yield line.answer()
    finally:
        line.leave()


@dataclass(slots=True)
class _Sent(Generic[Key]):
    """An image that a child was sent, and has not answered."""

    key: Key
    data: bytes | memoryview
    at: float = 0.0  # by the monotonic clock
    crashes: int = 0


class _Line(Generic[Key]):
    """The images at one child, whichever that is: it is replaced when it dies.

    A child answers one image before it takes the next. So the first that is not answered is the one
    that it died of, and those behind it are sent to the next child as if nothing had happened.
    """

    def __init__(self, settings: bytes, seconds: int) -> None:
        self._settings = settings
        self._seconds = seconds
        self._child: _Child | None = None
        self.sent: deque[_Sent[Key]] = deque()

    def has_room(self, size: int) -> bool:
        """Whether an image of so many bytes may be sent before there is another answer.

        It has to fit into the pipe: with both sides full of what the other does not read, because
        it is writing itself, neither would go on.
        """
        if self._child is None or not self.sent:
            return True
        return len(self.sent) < _AT_A_CHILD and size <= self._child.holds

    def send(self, key: Key, data: bytes | memoryview) -> None:
        """Hands an image to the child, where there is room for it."""
        image = _Sent(key, data)
        self.sent.append(image)
        self._hand_over(image)

    def answer(self) -> tuple[Key, Outcome]:
        """Waits for what became of the first image that was sent."""
        assert self._child is not None
        first = self.sent[0]
        while True:
            outcome = self._child.answer()
            died = outcome is None
            if outcome is None:
                outcome = self._judge(first, self._child.end())
            if outcome is not None:
                self.sent.popleft()
            # what a child keeps of too much memory would be wanting to its next image
            if died or (isinstance(outcome, ImageError) and outcome.code is _TOO_MUCH_MEMORY):
                self._replace_child()
            if outcome is not None:
                return first.key, outcome

    def leave(self) -> None:
        """Lets the child go; nobody would read what it still has to say."""
        if self._child is not None:
            if self.sent:
                self._child.end()
            else:
                _idle.append(self._child)

    def _hand_over(self, image: _Sent[Key]) -> None:
        if self._child is None:
            self._child = _idle_child() or _Child()
        image.at = time.monotonic()
        self._child.send(image.data, self._settings)

    def _replace_child(self) -> None:
        assert self._child is not None
        self._child.end()
        self._child = None
        for image in self.sent:
            self._hand_over(image)

    def _judge(self, image: _Sent[Key], code: int) -> ImageError | None:
        """What a child's end says of the image that it had; None where that may be tried again."""
        if code == _OVERDUE and time.monotonic() - image.at >= self._seconds:
            return ImageError(
                ImageErrorCode.TOO_SLOW,
                f"It took longer than the {self._seconds} s allowed (limits.image_seconds).",
            )
        ended = _how(code)
        _log.warning("The process that worked on an image ended (%s).", ended)
        image.crashes += 1
        if image.crashes < _TRIES:
            return None
        return ImageError(
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
        self.holds = 0
        if sys.platform == "linux":
            with contextlib.suppress(OSError):  # a user may have only so many large pipes
                self.holds = fcntl.fcntl(self._requests, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
                self.holds -= mmap.PAGESIZE  # what goes before an image
        self.pid = self._process.pid
        self._settings = b""

    def send(self, data: bytes | memoryview, settings: bytes) -> None:
        """Sends an image; `answer` tells where the child did not live to take it."""
        changed = b"" if settings == self._settings else settings
        self._settings = settings
        with contextlib.suppress(OSError):
            send(self._requests, changed, data)

    def answer(self) -> Outcome | None:
        """What became of the first image that is not answered; None where the child has ended."""
        try:
            text, blob = receive(self._replies)
        except EOFError:
            return None
        reply = json.loads(text)
        if "error" in reply:
            return ImageError(ImageErrorCode(reply["error"]), reply["message"])
        if "failure" in reply:
            return UnforeseenError(reply["failure"], reply["trace"])
        digest = reply.pop("sha256")
        return from_reply(reply, blob), digest

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


def _idle_child() -> _Child | None:
    with contextlib.suppress(IndexError):
        return _idle.pop()
    return None


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

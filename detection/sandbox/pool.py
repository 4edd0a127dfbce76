"""Each image in a child process, so that whatever ends that process affects this image alone.

Decoders are native code, and files come from anywhere: one may crash its process, hang, or take
all the memory that there is. So images are handed to child processes (`child.py`), which work
on one at a time. A child that dies is replaced, and its image is tried once more, as the machine
may have been at fault. See docs/decisions/0013-sandbox.md for what that costs.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import struct
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from time import monotonic
from typing import Generic, TypeVar

from detection.errors import DetectorError, ImageError, ImageErrorCode, MachineError
from detection.known import KnownFaces
from detection.options import Cover
from detection.sandbox.exclusive import ExclusiveTurn
from detection.sandbox.known import Again, RecutJob
from detection.sandbox.process import GRACE_SECONDS, Child, Lost
from detection.sandbox.protocol import Bounds
from detection.sandbox.replies import Job, Outcome, Question, UnforeseenError, Work
from detection.settings import CutSettings, DetectionSettings

COMMAND: Sequence[str] = (sys.executable, "-P", "-m", "detection.sandbox.child")
"""What a child runs; `-P` keeps the current folder off its path, which `-m` would put first."""

_TRIES = 2
_TRIES_WHEN_KILLED = 3  # the last of them alone
_AT_A_CHILD = 2  # images: one that it works on, and the next
_TOO_MUCH_MEMORY = ImageErrorCode.TOO_MUCH_MEMORY
_GREY = struct.pack("<2sIIIIiiHH24x", b"BM", 54 + 3 * 64**2, 0, 54, 40, 64, 64, 1, 24)
_GREY += b"\x80" * (3 * 64**2)
"""A BMP of 64 x 64 pixels, made without importing a codec into this process."""

_log = logging.getLogger(__name__)
_idle: list[Child] = []
_turn = ExclusiveTurn()

Key = TypeVar("Key")
Result = TypeVar("Result")


def crop_isolated(
    images: Iterable[tuple[Key, bytes | memoryview]],
    detection: DetectionSettings,
    crop: CutSettings,
    bounds: Bounds,
    cover: Cover | None = None,
) -> Iterator[tuple[Key, Outcome]]:
    """`detection.image.crop_faces` of each image in a child process, in their order.

    While a child works on one image, the next is sent to it where its pipe holds that, so that it
    need not wait. Afterwards the child stays for another call; it ends with this process.

    Args:
        images: each with a key of the caller's.
        detection, crop, bounds, cover: of all of them.

    Raises:
        MachineError: no child that works on images can be had here now.
        DetectorError: the settings give no detector.
    """
    job = Job(detection, crop.spelled_out(), bounds, cover)
    return _answered(job, ((key, job, data) for key, data in images))


def recut_isolated(
    images: Iterable[tuple[Key, KnownFaces, bytes | memoryview]],
    cuts: Sequence[CutSettings],
    bounds: Bounds,
) -> Iterator[tuple[Key, Again]]:
    """`detection.recut.recut` of each image in a child process, as `crop_isolated` does it.

    Args:
        images: each with a key of the caller's and the faces that are to be cut out; none is empty.
        cuts: in each of which they are cut.
        bounds: of all images.

    Raises:
        MachineError: no child that works on images can be had here now.
    """
    job = RecutJob(tuple(cut.spelled_out() for cut in cuts), bounds)
    return _answered(job, ((key, job.about(faces), data) for key, faces, data in images))


def _answered(
    job: Work, images: Iterable[tuple[Key, Question[Result], bytes | memoryview]]
) -> Iterator[tuple[Key, Result | ImageError | UnforeseenError]]:
    line = _Line[Key, Result](job)
    try:
        for key, question, data in images:
            while not line.has_room(len(question.text) + len(data)):
                yield line.answer()
            line.send(key, question, data)
        while line.in_flight:
            yield line.answer()
    finally:
        line.close()


@dataclass(slots=True)
class _Sent(Generic[Key, Result]):
    """An image in flight."""

    key: Key
    question: Question[Result]
    data: bytes | memoryview
    at: float = 0.0  # by the monotonic clock
    losses: int = 0  # of children that had it


class _Line(Generic[Key, Result]):
    """The images in flight at one child, which is replaced when it dies.

    A child answers one image before it takes the next. So the first that is not answered is the one
    that it died of, and those behind it are sent to the next child as if nothing had happened.
    """

    def __init__(self, job: Work) -> None:
        self._job = job
        self._seconds = job.bounds.seconds
        self._child: Child | None = None
        self.in_flight: deque[_Sent[Key, Result]] = deque()

    def has_room(self, size: int) -> bool:
        """Whether an image of so many bytes may be sent before there is another answer.

        It has to fit into the pipe: with both sides full of what the other does not read, because
        it is writing itself, neither would go on.
        """
        if not self.in_flight:
            return True
        if self._child is None or _turn.wanted:
            return False
        return len(self.in_flight) < _AT_A_CHILD and size <= self._child.holds

    def send(self, key: Key, question: Question[Result], data: bytes | memoryview) -> None:
        """Send the child an image, for which there is room."""
        image = _Sent(key, question, data)
        if not self.in_flight:
            _turn.enter(self._seconds)
        self.in_flight.append(image)
        self._hand_over(image)

    def answer(self) -> tuple[Key, Result | ImageError | UnforeseenError]:
        """Wait for the result of the first image in flight."""
        image = self.in_flight[0]
        outcome = self._outcome(image)
        self.in_flight.popleft()
        if not self.in_flight:
            _turn.leave()
        return image.key, outcome

    def close(self) -> None:
        """Leave the child to others, or end it where nobody would read its answers."""
        if self.in_flight:
            _turn.leave()
        if self._child is not None:
            if self.in_flight:
                self._child.end()
            else:
                _idle.append(self._child)

    def _outcome(self, image: _Sent[Key, Result]) -> Result | ImageError | UnforeseenError:
        with contextlib.ExitStack() as alone:
            while True:
                assert self._child is not None
                answer = self._child.answer(image.question, self._seconds)
                if not isinstance(answer, Lost):
                    if isinstance(answer, ImageError) and answer.code is _TOO_MUCH_MEMORY:
                        # what the child still holds of it would be missing for its next image
                        self._replace_child(islice(self.in_flight, 1, None))
                    return answer
                error = self._judged(image, answer)
                if error is not None:
                    self._replace_child(islice(self.in_flight, 1, None))
                    if error.code is ImageErrorCode.DECODER_CRASHED and self._child is None:
                        self._child = _ready_child(self._job)  # or it is the machine's fault
                    return error
                if answer.killed and image.losses == _TRIES:
                    alone.enter_context(_turn.alone(self._seconds + GRACE_SECONDS))
                self._replace_child(self.in_flight)

    def _hand_over(self, image: _Sent[Key, Result]) -> None:
        if self._child is None:
            self._child = _ready_child(self._job)
        image.at = monotonic()
        self._child.send(image.data, self._seconds, image.question.text)

    def _replace_child(self, images: Iterable[_Sent[Key, Result]]) -> None:
        """End the child, and send another one the images, if any."""
        if self._child is not None:
            self._child.end()
        self._child = None
        for image in images:
            self._hand_over(image)

    def _judged(self, image: _Sent[Key, Result], lost: Lost) -> ImageError | None:
        """What the loss of a child says of its image; None where that is to be tried again."""
        if lost.overdue and monotonic() - image.at >= self._seconds:
            return self._too_slow()
        _log.warning("The process that worked on an image ended (%s).", lost.how)
        image.losses += 1
        if image.losses < (_TRIES_WHEN_KILLED if lost.killed else _TRIES):
            return None
        if lost.shortage:
            _require_a_working_machine(self._job)
        if lost.late:
            return self._too_slow()
        if lost.killed:
            return ImageError(
                _TOO_MUCH_MEMORY,
                f"The process that worked on it was killed {image.losses} times, the last while no "
                "other was at work: it needs more memory than this machine has.",
            )
        return ImageError(
            ImageErrorCode.DECODER_CRASHED,
            f"It ended the process that worked on it {image.losses} times ({lost.how}).",
        )

    def _too_slow(self) -> ImageError:
        return ImageError(
            ImageErrorCode.TOO_SLOW,
            f"It took longer than the {self._seconds} s allowed (limits.image_seconds).",
        )


def _require_a_working_machine(job: Work) -> None:
    """Raise what the machine lacks, unless a picture of our own is cropped in spite of it."""
    child = _fresh_child(job)
    question = job.of_grey()
    child.send(_GREY, job.bounds.seconds, question.text)
    answer = child.answer(question, job.bounds.seconds)
    child.end()
    if isinstance(answer, Lost):
        raise MachineError(f"No image can be worked on here: {answer.how}")


def _ready_child(job: Work) -> Child:
    """An idle child, or else a fresh one."""
    while _idle:
        with contextlib.suppress(IndexError):  # another thread may have been faster
            child = _idle.pop()
            # one that has had images is not believed when it says that none can be worked on
            with contextlib.suppress(MachineError, DetectorError):
                child.prepare(job)
                return child
            child.end()
    return _fresh_child(job)


def _fresh_child(job: Work) -> Child:
    child = Child(COMMAND)
    child.prepare(job)
    return child


def warm(count: int) -> None:
    """Start children before there is an image, so that they import meanwhile.

    What stands in the way of that is said when an image needs a child.

    Args:
        count: how many there shall be, those that are idle already included.
    """
    with contextlib.suppress(MachineError):
        while len(_idle) < count:
            _idle.append(Child(COMMAND))


def idle_pids() -> list[int]:
    """Process ids of the children that wait for an image."""
    return [child.pid for child in _idle]


@atexit.register
def end_idle() -> None:
    """End the children that wait for an image."""
    while _idle:
        _idle.pop().end()

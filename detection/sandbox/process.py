"""The parent's side of one child process that works on images, and that it does not trust."""

from __future__ import annotations

import contextlib
import logging
import mmap
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

from detection.errors import DetectorError, ImageError, MachineError, one_line
from detection.forking.request import Forked, NotForkedError
from detection.forking.start import QUIET
from detection.sandbox.checks import ReplyError
from detection.sandbox.pipes import OverdueError, Reader, write
from detection.sandbox.protocol import LENGTHS
from detection.sandbox.replies import (
    Question,
    ShortageError,
    UnforeseenError,
    Work,
    read_ready,
    read_reply,
)
from detection.sandbox.safepath import safe_path

if sys.platform != "win32":
    import fcntl

READY_SECONDS = 120
"""Until a child has to be ready for images."""

GRACE_SECONDS = 10
"""For an answer, beyond what an image may take: the child's own watchdog comes first."""

_PIPE_BYTES = 1 << 20  # so that most photographs need one write; 64 KiB where that is refused
_OVERDUE = 1  # exit code of faulthandler's watchdog
_READY_BYTES = 1 << 14
_STDERR_BYTES = 1 << 14  # what is read of what a child wrote to its standard error
_TRACEBACK = "Traceback (most recent call last):"
_KEPT_FREE = 1 << 26  # bytes: glibc keeps what is freed instead of having it zeroed again
_ENDING_SECONDS = 2  # from a closed pipe to the end
_KILL = 9  # SIGKILL, which Windows has no name for
_MALLOC = {
    **dict.fromkeys(("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"), str(_KEPT_FREE)),
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",  # pages of 2 MiB where the system leaves the choice
}

# Ctrl-C in a terminal goes to a whole group, and is for the parent alone
_OWN_GROUP: dict[str, Any] = {"process_group": 0}
if sys.platform == "win32":
    _OWN_GROUP = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}

FORK_SERVER = "FACECROP_FORK_SERVER"
"""The variable that names the socket of a server that forks children."""

_log = logging.getLogger(__name__)

Result = TypeVar("Result")
_Pipes = tuple[IO[bytes], IO[bytes], IO[bytes]]


@dataclass(frozen=True, slots=True)
class Lost:
    """A child gave no answer that can be used, and has been ended.

    Attributes:
        how: in a few words.
        overdue: its own watchdog ended it.
        late: it did not answer in time, its watchdog notwithstanding.
        killed: somebody else ended it, as the system does when memory runs out.
        shortage: what, as it says in one line, its machine lacks.
    """

    how: str
    overdue: bool = False
    late: bool = False
    killed: bool = False
    shortage: str = ""


class Child:
    """One child process: forked where there is a server for that, or else started.

    Args:
        command: what it runs where it is started.

    Raises:
        MachineError: the machine has no process for it.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self._job: Work | None = None
        self._number = 0
        self._send_overdue = False
        self._process: subprocess.Popen[bytes] | Forked
        try:
            self._process, pipes = _forked() or _started(command)
        except OSError as error:
            raise MachineError(
                one_line(f"A process for images cannot be started: {error.strerror or error}.")
            ) from error
        self.pid = self._process.pid
        self._requests, self._replies, self._stderr = pipes
        self._reader = Reader(self._replies.fileno())
        if sys.platform != "win32":
            os.set_blocking(self._requests.fileno(), False)
            os.set_blocking(self._stderr.fileno(), False)  # others may hold its other end
        self.holds = 0
        if sys.platform == "linux":
            with contextlib.suppress(OSError):  # a user may have only so many large pipes
                self.holds = fcntl.fcntl(self._requests, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
                self.holds -= mmap.PAGESIZE  # what goes before an image

    def prepare(self, job: Work) -> None:
        """Wait until the child is ready for images of a job.

        Raises:
            MachineError: it is not, or not in time, or has ended.
            DetectorError: the settings give no detector.
        """
        if self._job == job and self._process.poll() is None:
            return
        self._job = job
        message = job.as_message()
        deadline = time.monotonic() + READY_SECONDS
        try:
            write(self._requests.fileno(), [LENGTHS.pack(len(message), 0), message], deadline)
            text, _ = self._receive(_READY_BYTES, 0, deadline)
            fault, why = read_ready(text)
        except OverdueError:
            self.end()
            how = f"not within {READY_SECONDS} s"
        except (OSError, EOFError):
            code, said = self._ending()
            how = said or _how(code)
        except ReplyError as error:
            self.end()
            how = f"it answered with {error}"
        else:
            if not fault:
                return
            self.end()
            if fault == "detector":
                raise DetectorError(f"No faces can be found with these settings: {why}")
            how = why
        raise MachineError(one_line(f"A process for images does not get ready here: {how}"))

    def send(self, data: bytes | memoryview, seconds: float, text: bytes = b"") -> None:
        """Send an image, and what is to be said about it.

        `answer` reports it where the child did not take it in so many seconds.
        """
        deadline = time.monotonic() + seconds + GRACE_SECONDS
        try:
            head = LENGTHS.pack(len(text), len(data))
            write(self._requests.fileno(), [head + text, data], deadline)
        except OverdueError:
            self._send_overdue = True
        except OSError:  # it has ended
            pass

    def answer(
        self, question: Question[Result], seconds: float
    ) -> Result | ImageError | UnforeseenError | Lost:
        """The result of the first image not answered yet, which may take so many seconds.

        Args:
            question: what was asked about it.
            seconds: that it may take.
        """
        assert self._job is not None
        self._number += 1
        started = time.monotonic()
        late = Lost("no answer in time", late=True)
        if self._send_overdue:
            self.end()
            return late
        try:
            text, blob = self._receive(
                question.text_bytes,
                self._job.bounds.crops_bytes,
                started + seconds + GRACE_SECONDS,
            )
            reply = read_reply(text, blob, self._number, question)
        except OverdueError:
            self.end()
            return late
        except ReplyError as error:
            self.end()
            return Lost(f"an answer that cannot be: {error}")
        except (OSError, EOFError):
            code, _ = self._ending()
            return Lost(_how(code), overdue=code == _OVERDUE, killed=code == -_KILL)
        if isinstance(reply, ShortageError):
            self.end()
            return Lost(str(reply), shortage=str(reply))
        return reply

    def end(self) -> None:
        """End the child and whatever it has started, if it has not ended."""
        if self._process.poll() is None:
            with contextlib.suppress(OSError):
                if sys.platform != "win32":
                    os.killpg(self.pid, signal.SIGKILL)
            self._process.kill()
            self._process.wait()
        for pipe in (self._requests, self._replies, self._stderr):
            with contextlib.suppress(OSError):
                pipe.close()

    def _ending(self) -> tuple[int | None, str]:
        """How a child that has closed its pipe has ended; it has when this returns.

        Returns:
            Its exit code, or minus the signal, None if it had to be ended; and why, as far as it
            wrote that, in one line.
        """
        try:
            code: int | None = self._process.wait(_ENDING_SECONDS)
        except subprocess.TimeoutExpired:
            code = None
        try:
            written = os.read(self._stderr.fileno(), _STDERR_BYTES).decode(errors="replace")
        except OSError:
            written = ""
        self.end()
        lines = [line for line in written.splitlines() if line.strip()]
        if not lines:
            return code, ""
        # of a traceback the last line says what, of all else the first
        said = one_line(lines[-1 if lines[0].startswith(_TRACEBACK) else 0])
        _log.warning("The process that worked on images said last: %s", said)
        return code, said

    def _receive(self, most_text: int, most_blob: int, deadline: float) -> tuple[bytes, bytes]:
        text, blob = LENGTHS.unpack(self._reader.read(LENGTHS.size, deadline))
        if text > most_text or blob > most_blob:
            raise ReplyError("more bytes than allowed")
        return self._reader.read(text, deadline), self._reader.read(blob, deadline)


def child_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """A child's: this project comes first on its path, so that it runs its parent's code."""
    root = str(Path(__file__).resolve().parents[2])
    # Prefect's settings are nothing to it, and need not be those of a server that forks it
    own = {name: value for name, value in environment.items() if not name.startswith("PREFECT_")}
    # no threads or files of libraries besides: a child works on one image at a time
    return {**own, **_MALLOC, **QUIET, **safe_path(environment, root)}


def _started(command: Sequence[str]) -> tuple[subprocess.Popen[bytes], _Pipes]:
    process = subprocess.Popen(
        command,
        bufsize=0,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        # not this process's: a hostile image would write on somebody's terminal
        stderr=subprocess.PIPE,
        env=child_environment(os.environ),
        **_OWN_GROUP,
    )
    assert process.stdin
    assert process.stdout
    assert process.stderr
    return process, (process.stdin, process.stdout, process.stderr)


def _forked() -> tuple[Forked, _Pipes] | None:
    server = os.environ.get(FORK_SERVER)
    if not server:
        return None
    with contextlib.ExitStack() as theirs:
        ends = [_pipe(theirs, ours) for ours in (1, 0, 0)]
        try:
            process = Forked(server, child_environment(os.environ), [end for _, end in ends])
        except NotForkedError as why:
            _log.debug("Processes for images are started, not forked: %s", why)
            os.environ.pop(FORK_SERVER, None)  # one that does not answer would be waited for again
            return None
    requests, replies, stderr = (pipe for pipe, _ in ends)
    return process, (requests, replies, stderr)


def _pipe(theirs: contextlib.ExitStack, ours: int) -> tuple[IO[bytes], int]:
    """A pipe whose end 0, to read, or 1, to write, is ours; the other closes with `theirs`."""
    ends = os.pipe()
    theirs.callback(os.close, ends[1 - ours])
    return os.fdopen(ends[ours], "wb" if ours else "rb", buffering=0), ends[1 - ours]


def _how(code: int | None) -> str:
    if code is None:
        return "it closed its pipe"
    if code >= 0:
        return f"exit code {code}"
    with contextlib.suppress(ValueError):
        return signal.Signals(-code).name
    return f"signal {-code}"

"""Reading from a pipe, and writing to one, until a deadline: the other side may have been stopped.

A pipe that another process holds open, too, does not end with the process that it leads to; so it
is no use to end that and wait. On Windows, where no pipe can be polled, these wait for as long as
it takes; there the child's own watchdog is all that keeps the time.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence

if sys.platform != "win32":
    import select

_LEAST, _MOST = 1 << 16, 1 << 20  # bytes read at once: what comes is kept, whatever was announced

Buffer = bytes | memoryview


class OverdueError(Exception):
    """The deadline has passed."""


class Reader:
    """The end of a pipe that is read from.

    Args:
        fd: its file descriptor.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._ahead = b""

    def read(self, size: int, deadline: float) -> bytes:
        """So many bytes.

        Args:
            size: of which no more memory is taken than has come.
            deadline: by the monotonic clock.

        Raises:
            EOFError: the other side has ended.
            OverdueError: they did not come in time.
        """
        parts, missing = [self._ahead], size - len(self._ahead)
        while missing > 0:
            _wait(self._fd, deadline, writing=False)
            part = os.read(self._fd, min(max(missing, _LEAST), _MOST))
            if not part:
                raise EOFError
            parts.append(part)
            missing -= len(part)
        whole = parts[0] if len(parts) == 1 else b"".join(parts)
        self._ahead = whole[size:]
        return whole[:size]


def write(fd: int, buffers: Sequence[Buffer], deadline: float) -> None:
    """Write all of the buffers to a pipe, which does not block.

    Raises:
        OSError: the other side has ended.
        OverdueError: it did not take them in time.
    """
    left = [memoryview(buffer) for buffer in buffers if len(buffer)]
    while left:
        try:
            # at once, or the other side is woken for the head, too, and takes someone's turn
            sent = os.write(fd, left[0]) if sys.platform == "win32" else os.writev(fd, left)
        except BlockingIOError:
            _wait(fd, deadline, writing=True)
            continue
        while left and sent >= len(left[0]):
            sent -= len(left.pop(0))
        if left:
            left[0] = left[0][sent:]


def _wait(fd: int, deadline: float, *, writing: bool) -> None:
    if sys.platform != "win32":
        poll = select.poll()
        poll.register(fd, select.POLLOUT if writing else select.POLLIN)
        # polled once even when it is late: this process may be the one that was stopped
        if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            raise OverdueError

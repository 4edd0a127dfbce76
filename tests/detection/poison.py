"""A child of the sandbox to which images with certain endings are poison.

Stands in for what no file does reliably to a decoder that is kept up to date. Run with `python -m`;
the environment names a file that remembers which image has done its harm already.
"""

import errno
import os
import signal
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

from detection.image import crop_faces
from detection.result import Image
from detection.sandbox import child

ABORTS, HANGS, EATS = b"this one aborts", b"this one hangs", b"this one eats memory"
ABORTS_ONCE = b"this one aborts once"
STOPS, IS_KILLED, BREAKS = b"this one stops", b"this one is killed", b"this one breaks"
WANTS_A_THREAD, WANTS_A_FILE = b"this one wants a thread", b"this one wants a file"
NO_THREADS = "POISON_NO_THREADS"
"""Set where no image gets a thread."""
MEMORY_FILE = "POISON_MEMORY"


def _crop_faces(data: bytes, *others: Any) -> Image:
    end = data[-32:]
    if end.endswith(ABORTS):
        os.abort()
    if end.endswith(ABORTS_ONCE) and not Path(os.environ[MEMORY_FILE]).exists():
        Path(os.environ[MEMORY_FILE]).touch()
        os.kill(os.getpid(), signal.SIGSEGV)
    if end.endswith(STOPS):
        os.kill(os.getpid(), signal.SIGSTOP)
    if end.endswith(IS_KILLED):
        os.kill(os.getpid(), signal.SIGKILL)
    if end.endswith(BREAKS):
        raise LookupError("nobody foresaw \x1b[31mthis")
    if end.endswith(WANTS_A_THREAD) or NO_THREADS in os.environ:
        raise RuntimeError("can't start new thread")
    if end.endswith(WANTS_A_FILE):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    if end.endswith(HANGS):
        while True:
            time.sleep(1)
    if end.endswith(EATS):
        eaten = []
        while True:
            eaten.append(bytearray(16 << 20))
    return crop_faces(data, *others)


if __name__ == "__main__":
    with patch.object(child, "crop_faces", _crop_faces):
        child.main()

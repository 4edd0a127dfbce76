"""A fork server whose processes run the code that the environment of each names, `python -m`."""

from __future__ import annotations

import os
import socket
import sys
import threading

from detection.forking.server import ForkServer

CODE, NAME = "FORKED_CODE", "forked"
THREAD = "FORKED_THREAD"
"""Set where the server has a second thread."""


def _run() -> None:
    exec(os.environ[CODE])


if __name__ == "__main__":
    server = ForkServer(socket.socket(fileno=int(sys.argv[1])), NAME)
    import numpy  # noqa: F401 whose generator each process has to seed for itself

    if THREAD in os.environ:
        threading.Thread(target=threading.Event().wait, daemon=True).start()
    server.serve(_run)

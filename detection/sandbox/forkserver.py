"""`python -P -m detection.sandbox.forkserver FD`: forks processes that images are worked on in."""

from __future__ import annotations

import socket
import sys

from detection.forking.server import ForkServer


def main() -> None:
    """Fork whenever a run asks. No image comes into this process, so none can change it."""
    server = ForkServer(socket.socket(fileno=int(sys.argv[1])), "facecrop-image")
    server.load(["detection.sandbox.child"])

    from detection.sandbox import child  # changes the environment that the server keeps in mind

    server.serve(child.main)


if __name__ == "__main__":
    main()

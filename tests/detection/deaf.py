"""A child of the sandbox that gets ready and never reads again. Run with `python -m`."""

import os
import time

from detection.sandbox.protocol import receive, send_ready

if __name__ == "__main__":
    receive(os.fdopen(0, "rb", closefd=False))
    send_ready(os.fdopen(1, "wb", closefd=False))
    time.sleep(600)

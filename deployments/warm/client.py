"""`python -I -S client.py SOCKET COMMAND ...`: a run of Prefect's engine, forked.

A worker takes this process for the run: signals go on to the run, and it ends as the run ends.
Where nothing can be forked it becomes the command, which does the same as if it were started anew.
"""

import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from detection.forking.request import Forked, NotForkedError


def main() -> None:
    """Have a run forked, and wait for its end."""
    path, *command = sys.argv[1:]
    passed_on = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    signal.pthread_sigmask(signal.SIG_BLOCK, passed_on)  # until there is someone to tell
    try:
        run = Forked(path, os.environ, (0, 1, 2))
    except NotForkedError:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, passed_on)
        os.execv(command[0], command)
    for number in passed_on:
        signal.signal(number, lambda number, _: run.send_signal(number))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, passed_on)
    code = run.wait()
    if code < 0:
        if -code != signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    sys.exit(code)


if __name__ == "__main__":
    main()

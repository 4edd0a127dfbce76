"""Looks into an inbox again and again: `python -m tests.faults.watcher INBOX OUTPUT`."""

import sys
import time

from flows.watch_inbox import watch_inbox

if __name__ == "__main__":
    while True:
        try:
            watch_inbox(sys.argv[1], sys.argv[2], settle_seconds=0)
        except Exception as error:  # noqa: BLE001 - as a schedule, it comes again whatever happened
            print(f"watcher: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        time.sleep(0.5)

"""Run logs that a person can read: one line an error, no line a chunk, no secret in a URI.

Nor does a name in them command the terminal.
"""

from __future__ import annotations

import logging
import traceback

from facecrop.errors import FacecropError
from storage.fs.redact import printable, shown
from tasks.lifecycle.server import silence

_CHUNK_TASKS = ("detect-and-crop", "recrop")


class _Plain(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        if record.exc_info and isinstance(record.exc_info[1], FacecropError):
            record.exc_info = None  # these say all there is to say in their one line
        if record.exc_info and record.exc_info[1] is not None:
            # whoever formats the record takes this for its traceback
            lines = traceback.format_exception(record.exc_info[1])
            record.exc_text = printable(shown("".join(lines))).rstrip()
        record.msg, record.args = printable(shown(record.getMessage())), None
        # A batch has thousands of chunks; the flow itself tells how far it is every few seconds.
        chunk = getattr(record, "task_name", None) in _CHUNK_TASKS
        return not (chunk and record.levelno <= logging.INFO and "Completed" in record.getMessage())


class _NoDump(logging.Filter):
    """Of what could not be sent Prefect prints all, straight to the terminal."""

    def filter(self, record: logging.LogRecord) -> bool:
        return silence() is None or not str(record.msg).startswith("Service %r failed")


_PLAIN, _NO_DUMP = _Plain(), _NoDump()


def plain_logs() -> None:
    """Make Prefect's run loggers plain. May be called again and again."""
    for name in ("prefect.flow_runs", "prefect.task_runs"):
        logging.getLogger(name).addFilter(_PLAIN)
    logging.getLogger("prefect._internal.concurrency").addFilter(_NO_DUMP)
    logging.raiseExceptions = False  # or a line of a log that cannot be sent ends up on stderr

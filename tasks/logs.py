"""Run logs that a person can read: one line an error, no line a chunk."""

from __future__ import annotations

import logging

from storage.errors import StorageError, TransientError

_CHUNK_TASK = "detect-and-crop"


class _Plain(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        if record.exc_info and isinstance(record.exc_info[1], StorageError | TransientError):
            record.exc_info = None  # these say all there is to say in their one line
        # A batch has thousands of chunks; the flow itself tells how far it is every few seconds.
        chunk = getattr(record, "task_name", None) == _CHUNK_TASK
        return not (chunk and record.levelno <= logging.INFO and "Completed" in record.getMessage())


_PLAIN = _Plain()


def plain_logs() -> None:
    """Makes Prefect's run loggers plain. May be called again and again."""
    for name in ("prefect.flow_runs", "prefect.task_runs"):
        logging.getLogger(name).addFilter(_PLAIN)

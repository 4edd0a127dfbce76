"""A run outlives its Prefect server: the parts are the record, and the server is only notified."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from pipeline.summary import Summary
from tasks.lifecycle.events import keep_events
from tasks.lifecycle.server import ask_together, hurry_if_ended_by


@dataclass(slots=True)
class Outcome:
    """The result of a batch, whether the server could be notified or not.

    Attributes:
        summary: of a batch that is complete.
        error: what ended it early.
    """

    summary: Summary | None = None
    error: BaseException | None = None


OUTCOME: ContextVar[Outcome | None] = ContextVar("outcome", default=None)
"""Set by a caller in the same process, as a flow whose server is gone raises that, and no more."""


def outlive_server() -> None:
    """Prepare this process for a server that goes away. May be called again."""
    ask_together()
    keep_events()


@contextmanager
def noting_outcome() -> Iterator[Outcome]:
    """Give what the summary is to be noted in, and note what ends the batch early."""
    outcome = OUTCOME.get() or Outcome()
    try:
        yield outcome
    except BaseException as error:
        hurry_if_ended_by(error)
        outcome.error = error
        raise

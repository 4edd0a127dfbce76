"""Which failures Prefect tries again, and how patiently."""

from __future__ import annotations

from typing import Any, TypedDict

from prefect.client.schemas.objects import State, TaskRun
from prefect.context import TaskRunContext
from prefect.tasks import Task, exponential_backoff

from storage.errors import TransientError

ATTEMPTS = 3
_FIRST_DELAY_SECONDS = 2


class _Retry(TypedDict):
    retries: int
    retry_delay_seconds: Any
    retry_jitter_factor: float
    retry_condition_fn: Any


def is_transient(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    """Whether a failed task run may succeed when it is run again."""
    return isinstance(state.data, TransientError)


RETRY_TRANSIENT = _Retry(
    retries=ATTEMPTS - 1,
    retry_delay_seconds=exponential_backoff(_FIRST_DELAY_SECONDS),
    retry_jitter_factor=0.5,
    retry_condition_fn=is_transient,
)
"""Options for `@task`: 3 attempts, 2 and 4 seconds apart with jitter, for transient errors only."""


def last_attempt() -> bool:
    """Whether the current task run gets no further try. True outside of a run."""
    context = TaskRunContext.get()
    return context is None or context.task_run.run_count >= ATTEMPTS

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


def retry_transient(attempts: int) -> _Retry:
    """Options for `@task`: so many attempts, 2, 4, 8 … seconds apart with jitter, and only for
    transient errors."""
    return _Retry(
        retries=attempts - 1,
        retry_delay_seconds=exponential_backoff(_FIRST_DELAY_SECONDS),
        retry_jitter_factor=0.5,
        retry_condition_fn=is_transient,
    )


RETRY_TRANSIENT = retry_transient(ATTEMPTS)
"""What every task does that touches storage."""


def last_attempt() -> bool:
    """Whether the current task run gets no further try. True outside of a run."""
    context = TaskRunContext.get()
    return context is None or context.task_run.run_count >= ATTEMPTS

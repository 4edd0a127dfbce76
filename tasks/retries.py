"""What all our tasks are for Prefect: kept nowhere, and retried as `pipeline.retries` says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypedDict, TypeVar

from prefect.cache_policies import NO_CACHE, CachePolicy
from prefect.client.schemas.objects import State, TaskRun
from prefect.context import TaskRunContext
from prefect.logging import get_run_logger
from prefect.tasks import Task, exponential_backoff

from pipeline.retries import ATTEMPTS, FIRST_DELAY_SECONDS, JITTER, is_transient, retried

T = TypeVar("T")


class _Options(TypedDict):
    cache_policy: CachePolicy
    persist_result: bool
    retries: int
    retry_delay_seconds: Any
    retry_jitter_factor: float
    retry_condition_fn: Any


def _may_succeed(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    return is_transient(state.data)


def task_options(attempts: int = ATTEMPTS) -> _Options:
    """Options for `@task`: so many attempts, and only after transient errors."""
    return _Options(
        cache_policy=NO_CACHE,
        persist_result=False,
        retries=attempts - 1,
        retry_delay_seconds=exponential_backoff(FIRST_DELAY_SECONDS),
        retry_jitter_factor=JITTER,
        retry_condition_fn=_may_succeed,
    )


def last_attempt() -> bool:
    """Whether the current task run gets no further attempt. True outside of a run."""
    context = TaskRunContext.get()
    return context is None or context.task_run.run_count >= ATTEMPTS


def retried_step(work: Callable[[], T]) -> T:
    """What `work` gives, which is no task: retried as tasks are, and told in the run's log."""
    return retried(lambda _: work(), warn=get_run_logger().warning)

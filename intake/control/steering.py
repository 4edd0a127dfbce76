"""Batches that are under way or done: cancelled, paused, resumed, retried, recropped."""

from __future__ import annotations

import time
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterParentFlowRunId
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.client.schemas.responses import SetStateStatus
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelling, Scheduled, Suspended

from intake.control.batches import OWNER_TAG, BatchError, UnknownBatchError, find, owner_tags
from intake.control.filters import in_states
from intake.control.oldruns import RECROP, RETRY
from pipeline.recrop.settings import RecropSettings
from pipeline.settings import LimitSettings

_TAKING_SECONDS = 30.0  # a worker takes fractions of one; others show Pending until a run runs


def cancel(client: SyncPrefectClient, batch: UUID) -> None:
    """End a batch with its shards. What it has done stays, and it can be submitted again.

    Raises:
        UnknownBatchError: the server has no such batch.
        BatchError: it has ended, or no worker runs it.
    """
    run = _unfinished(client, batch, "cancelled")
    _set_state(client, run, Cancelling(message="Cancelled by a user."))


def pause(client: SyncPrefectClient, batch: UUID) -> None:
    """Has a batch leave its workers within seconds, until it is resumed.

    Raises:
        UnknownBatchError: the server has no such batch.
        BatchError: it has ended, is paused already or just being started, or no worker runs it.
    """
    run = _taken(client, batch)
    if run.state is not None and run.state.is_paused():
        raise BatchError(f"{run.name} is paused already")
    if run.state is not None and run.state.is_cancelling():
        raise BatchError(f"{run.name} is being cancelled, so it cannot be paused")
    # Prefect itself would only pause what runs; what waits can wait as well
    _set_state(client, run, Suspended(message="Paused by a user."), force=True)
    if run.state is not None and not run.state.is_running():
        _end_shards(client, batch)


def resume(client: SyncPrefectClient, batch: UUID) -> None:
    """Has a paused batch go on.

    Raises:
        UnknownBatchError: the server has no such batch.
        BatchError: it is not paused.
    """
    run = find(client, batch)
    if run.state is None or not run.state.is_paused():
        raise BatchError(f"{run.name} is not paused")
    _set_state(client, run, Scheduled(message="Resumed by a user."))


def retry(
    client: SyncPrefectClient,
    batch: UUID,
    owner: str | None = None,
    limits: LimitSettings | None = None,
) -> FlowRun:
    """Start a run, of an owner's if there is one, that retries a batch's failed members.

    Args:
        client: of the server.
        batch: its id.
        owner: whose run it is to be.
        limits: those that it sets are raised for the run.

    Raises:
        UnknownBatchError: the server has no such batch, or nothing that could do it.
        BatchError: it is not completed.
    """
    run = _completed(client, batch, "its failed images be retried")
    raised = {} if limits is None else limits.model_dump(mode="json", exclude_unset=True)
    given = {"output": run.parameters["output"], **({"limits": raised} if raised else {})}
    return _followed_by(client, run, RETRY, given, owner)


def recrop(
    client: SyncPrefectClient,
    batch: UUID,
    output: str,
    settings: RecropSettings,
    owner: str | None = None,
) -> FlowRun:
    """Start a run, of an owner's if there is one, that cuts a batch's faces out another way.

    Args:
        client: of the server.
        batch: its id.
        output: to be made.
        settings: of the recrop.
        owner: whose run it is to be.

    Raises:
        UnknownBatchError: the server has no such batch, or nothing that could do it.
        BatchError: it is not completed.
    """
    run = _completed(client, batch, "its faces be cut out another way")
    # what was left out is the batch's own
    asked = settings.model_dump(mode="json", exclude_unset=True)
    given = {"batch": run.parameters["output"], "output": output, "settings": asked}
    return _followed_by(client, run, RECROP, given, owner)


def _completed(client: SyncPrefectClient, batch: UUID, can: str) -> FlowRun:
    run = find(client, batch)
    if run.state is None or not run.state.is_completed() or run.deployment_id is None:
        raise BatchError(f"{run.name} is not completed; only then can {can}")
    return run


def _followed_by(
    client: SyncPrefectClient,
    run: FlowRun,
    flow: str,
    parameters: dict[str, Any],
    owner: str | None,
) -> FlowRun:
    """Start a run of another flow on the work pool of a batch, for whom that is."""
    assert run.deployment_id is not None
    kind = client.read_deployment(run.deployment_id).name
    try:
        deployment = client.read_deployment_by_name(f"{flow}/{kind}")
    except ObjectNotFound as error:
        raise UnknownBatchError(
            f"the server has no deployment {flow}/{kind}; run `python -P -m deployments`"
        ) from error
    return client.create_flow_run_from_deployment(
        deployment.id,
        parameters=parameters,
        state=Scheduled(),
        tags=[*(tag for tag in run.tags if not tag.startswith(OWNER_TAG)), *owner_tags(owner)],
        work_queue_name=run.work_queue_name,
    )


def _unfinished(client: SyncPrefectClient, batch: UUID, to_be: str) -> FlowRun:
    run = find(client, batch)
    if run.state is not None and run.state.is_final():
        raise BatchError(f"{run.name} is {run.state.type.value.lower()}, so it cannot be {to_be}")
    if run.deployment_id is None:  # nobody would tell its process
        raise BatchError(f"{run.name} runs in the program that started it; interrupt it there")
    return run


def _taken(client: SyncPrefectClient, batch: UUID) -> FlowRun:
    """The run of a batch that is to be paused, once no worker is about to take it.

    Prefect 3.9.1 lets a worker that is told so at that moment fall over, with all its other runs.
    """
    until = time.monotonic() + _TAKING_SECONDS
    while True:
        run = _unfinished(client, batch, "paused")
        if run.state is None or run.state.name != "Pending":
            return run
        if time.monotonic() > until:
            raise BatchError(f"{run.name} is just being started; pause it again in a minute")
        time.sleep(0.5)


def _end_shards(client: SyncPrefectClient, batch: UUID) -> None:
    """Take the shards off their workers whose batch has given its own slot back."""
    shards = FlowRunFilter(
        parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[batch]),
        state=in_states(StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING),
    )
    for shard in client.read_flow_runs(flow_run_filter=shards):
        client.set_flow_run_state(shard.id, Cancelling(message="Its batch was paused."))


def _set_state(
    client: SyncPrefectClient, run: FlowRun, state: State[None], *, force: bool = False
) -> None:
    answer = client.set_flow_run_state(run.id, state, force=force)
    if answer.status in (SetStateStatus.ABORT, SetStateStatus.WAIT):
        reason = getattr(answer.details, "reason", "") or "it has moved on meanwhile"
        raise BatchError(f"{run.name}: {reason}")

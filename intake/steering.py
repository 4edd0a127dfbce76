"""Batches that are under way or done: cancelled, paused, resumed, their failures driven again."""

from __future__ import annotations

from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun, State
from prefect.client.schemas.responses import SetStateStatus
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelling, Scheduled, Suspended

from intake.batches import BatchError, UnknownBatchError, find

_RETRY_FLOW = "retry-failed"


def cancel(client: SyncPrefectClient, batch: UUID) -> None:
    """Ends a batch with its shards. What it has done stays, and it can be submitted again.

    Raises:
        UnknownBatchError: the server has no such batch.
        BatchError: it has ended.
    """
    run = _unfinished(client, batch, "cancelled")
    _set_state(client, run, Cancelling(message="Cancelled by a user."))


def pause(client: SyncPrefectClient, batch: UUID) -> None:
    """Has a batch leave its workers within seconds, until it is resumed.

    Raises:
        UnknownBatchError: the server has no such batch.
        BatchError: it has ended, or is paused already.
    """
    run = _unfinished(client, batch, "paused")
    if run.state is not None and run.state.is_paused():
        raise BatchError(f"{run.name} is paused already")
    # Prefect itself would only pause what runs; what waits can wait as well
    _set_state(client, run, Suspended(message="Paused by a user."), force=True)


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


def retry(client: SyncPrefectClient, batch: UUID) -> FlowRun:
    """Starts a run that drives the failed members of a completed batch again.

    Raises:
        UnknownBatchError: the server has no such batch, or nothing that could do it.
        BatchError: it is not completed.
    """
    run = find(client, batch)
    if run.state is None or not run.state.is_completed() or run.deployment_id is None:
        raise BatchError(f"{run.name} is not completed; only then can its failed images be retried")
    kind = client.read_deployment(run.deployment_id).name
    try:
        deployment = client.read_deployment_by_name(f"{_RETRY_FLOW}/{kind}")
    except ObjectNotFound as error:
        raise UnknownBatchError(
            f"the server has no deployment {_RETRY_FLOW}/{kind}; run `python -m deployments`"
        ) from error
    return client.create_flow_run_from_deployment(
        deployment.id,
        parameters={"output": run.parameters["output"]},
        state=Scheduled(),
        tags=run.tags,
        work_queue_name=run.work_queue_name,
    )


def _unfinished(client: SyncPrefectClient, batch: UUID, to_be: str) -> FlowRun:
    run = find(client, batch)
    if run.state is not None and run.state.is_final():
        raise BatchError(f"{run.name} is {run.state.type.value.lower()}, so it cannot be {to_be}")
    return run


def _set_state(
    client: SyncPrefectClient, run: FlowRun, state: State[None], *, force: bool = False
) -> None:
    answer = client.set_flow_run_state(run.id, state, force=force)
    if answer.status in (SetStateStatus.ABORT, SetStateStatus.WAIT):
        reason = getattr(answer.details, "reason", "") or "it has moved on meanwhile"
        raise BatchError(f"{run.name}: {reason}")

"""A batch that crashed is scheduled again by the server; here it is decided whether it goes on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext

from storage.errors import StorageError
from tasks.retries import ATTEMPTS


class CrashedError(StorageError):
    """The batch is not to go on after its last crash."""


def refuse_endless_crashes() -> None:
    """Lets the current flow run go on, unless it crashed too often or while it was cancelled.

    Has to be called from within a flow.

    Raises:
        CrashedError: it is not to go on.
    """
    context = FlowRunContext.get()
    assert context is not None
    assert context.flow_run is not None
    with get_client(sync_client=True) as client:
        states = client.read_flow_run_states(context.flow_run.id)
    judge(sorted(states, key=lambda state: state.timestamp))


def judge(states: Iterable[State[Any]]) -> None:
    """Judges by the states that a run has been through, oldest first.

    Raises:
        CrashedError: it crashed `ATTEMPTS` times in a row, or while it was being cancelled.
    """
    crashes, cancelling = 0, False
    for state in states:
        if state.is_crashed():
            crashes += 1
        elif state.is_cancelling():
            cancelling = True
        elif state.is_final():  # whoever has it run again after that means a new start
            crashes, cancelling = 0, False
    if crashes and cancelling:
        raise CrashedError("Its process died while it was being cancelled. Run it again to go on.")
    if crashes >= ATTEMPTS:
        raise CrashedError(
            f"Its process died {crashes} times, so another try is no use: see what the worker's "
            "log says of it, memory first. Run it again to go on."
        )

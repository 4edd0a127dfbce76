"""A batch that crashed is scheduled again by the server; here it is decided whether it goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run

from storage.errors import StorageError
from tasks.progress import Progress, Snapshot
from tasks.retries import ATTEMPTS

OUTLIVED = "facecrop.crashes-outlived"
"""A run's label: how many crashes it has got on after."""


class CrashedError(StorageError):
    """The batch is not to go on after its last crash."""


def refuse_endless_crashes() -> int:
    """Lets the current flow run go on, unless it crashed too often or while it was cancelled.

    Has to be called from within a flow.

    Returns:
        How often it has crashed so far while it ran.

    Raises:
        CrashedError: it is not to go on.
    """
    run = UUID(flow_run.get_id())
    with get_client(sync_client=True) as client:
        states = client.read_flow_run_states(run)
        outlived = client.read_flow_run(run).labels.get(OUTLIVED, 0)
    return judge(sorted(states, key=lambda state: state.timestamp), int(outlived))


def note_progress(crashes: int, progress: Progress) -> Callable[[Snapshot], None]:
    """Gives what a reporter calls, to note on the current flow run that it got on.

    A long batch outlives any number of machines as long as each of them completes something.

    Args:
        crashes: that it has had so far.
        progress: of this run.
    """
    noted = crashes == 0

    def note(_: Snapshot) -> None:
        nonlocal noted
        if not noted and progress.has_gained:
            run = UUID(flow_run.get_id())
            get_client(sync_client=True).update_flow_run_labels(run, {OUTLIVED: crashes})
            noted = True

    return note


def judge(states: Iterable[State[Any]], outlived: int) -> int:
    """Judges by the states that a run has been through, oldest first.

    A process that died before it ran the flow says nothing of the batch: its server was away, say.

    Args:
        states: of the run.
        outlived: how many crashes it has got on after.

    Returns:
        The number of crashes while it ran.

    Raises:
        CrashedError: it crashed `ATTEMPTS` times and got nothing done, or while it was being
            cancelled.
    """
    crashes, before, running, cancelling, died = 0, outlived, False, False, False
    for state in states:
        if state.is_running() or state.is_scheduled():
            running = state.is_running()
        elif state.is_crashed():
            crashes, running, died = crashes + running, False, cancelling
        elif state.is_cancelling():
            cancelling = True
        elif state.is_final():  # whoever has it run again after that means a new start
            before, cancelling, died = max(outlived, crashes), False, False
    if died:
        raise CrashedError("Its process died while it was being cancelled. Run it again to go on.")
    if crashes - before >= ATTEMPTS:
        raise CrashedError(
            f"Its process died {crashes - before} times and got nothing done, so another try is no "
            "use: see what the worker's log says of it, memory first. Run it again to go on."
        )
    return crashes

"""A batch that crashed is scheduled again by the server; here it is decided whether it goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import httpx
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger

from pipeline.progress import Progress, Snapshot
from pipeline.retries import ATTEMPTS
from storage.errors import RedactedError
from tasks.lifecycle.current import current_run

OUTLIVED = "facecrop.crashes-outlived"
"""A run's label: how many crashes it has got on after."""


class CrashedError(RedactedError):
    """The batch is not to go on after its last crash."""


def refuse_endless_crashes() -> int:
    """Lets the current flow run go on, unless it crashed too often or while it was cancelled.

    Has to be called from within a flow. Nobody resumes a run without a deployment, so of that
    nothing is asked; and where the server does not answer, the run goes on, as it would have.

    Returns:
        How often it has crashed so far while it ran.

    Raises:
        CrashedError: it is not to go on.
    """
    run = current_run()
    if run.deployment_id is None:
        return 0
    try:
        with get_client(sync_client=True) as client:
            states = client.read_flow_run_states(run.id)
            if not any(state.is_crashed() for state in states):
                return 0
            outlived = client.read_flow_run(run.id).labels.get(OUTLIVED, 0)
    except httpx.HTTPError as error:
        get_run_logger().warning("How often the run has crashed is not known: %s", error)
        return 0
    return judge(sorted(states, key=lambda state: state.timestamp), int(outlived))


def note_progress(crashes: int, progress: Progress) -> Callable[[Snapshot], None]:
    """Give what a reporter calls, to note on the current flow run that it got on.

    A long batch outlives any number of machines as long as each of them completes something.

    Args:
        crashes: that it has had so far.
        progress: of this run.
    """
    noted = crashes == 0

    def note(_: Snapshot) -> None:
        nonlocal noted
        if not noted and progress.has_gained:
            client = get_client(sync_client=True)
            client.update_flow_run_labels(current_run().id, {OUTLIVED: crashes})
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

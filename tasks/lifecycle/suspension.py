"""A batch that somebody has suspended leaves its worker, and goes on when it is resumed."""

from __future__ import annotations

from prefect.client.orchestration import get_client
from prefect.exceptions import Pause

from tasks.lifecycle.current import current_run


def leave_if_suspended() -> None:
    """End the current batch's process where its run was suspended, in the UI or by us.

    Prefect itself checks only when the server orchestrates a task, which it does not with chunks.

    Raises:
        Pause: it was; its run stays as it is until it is resumed, and then goes on from its parts.
        httpx.HTTPError: the server did not answer.
    """
    run = current_run()
    # only a run that is its deployment's can be suspended; a shard ends with its batch
    if run.deployment_id is None or run.parent_task_run_id is not None:
        return
    state = get_client(sync_client=True).read_flow_run(run.id).state
    if state is not None and state.is_paused():
        raise Pause(state=state)

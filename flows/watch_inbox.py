"""New archives under a folder or prefix, each to a batch of its own."""

from typing import Annotated

from prefect import flow
from pydantic import Field

from pipeline.settings import CropSettings
from tasks.inbox import (
    Started,
    at_work,
    find_deployment,
    list_inbox,
    look_again,
    report,
    split,
    start_batches,
    without_run,
)
from tasks.logs import plain_logs
from tasks.reporting.names import inbox_name

DEFAULTS = CropSettings()


@flow(name="watch-inbox", flow_run_name=inbox_name)
def watch_inbox(
    inbox: str,
    output: str,
    deployment: Annotated[str, Field(pattern="^[^/]+/[^/]+$")] = "crop-archive/process",
    settings: CropSettings = DEFAULTS,
    priority: Annotated[int, Field(ge=1, le=10)] = 5,
    settle_seconds: Annotated[int, Field(ge=0, le=86_400)] = 60,
    folders: bool = False,
) -> list[Started]:
    """Scan an inbox once, and start a batch for each archive that has stopped growing.

    Exactly one batch an archive, however many of these runs there are at once and whatever dies in
    between. Nothing in the inbox is moved, renamed or deleted. An archive that is put there again
    with another content is a new one.

    Args:
        inbox: a folder or prefix, as a path or a URI; .zip, .tar and compressed TARs are
            taken from anywhere below it, but for hidden files and folders.
        output: a folder or prefix elsewhere; each batch gets a folder of its own in it.
        deployment: what crops an archive, as FLOW/NAME.
        settings: of every batch.
        priority: 1 (first) to 10 of the batches and their shards on the work pool.
        settle_seconds: how many seconds ago an archive must have been written last.
        folders: whether each folder right in the inbox is an archive, too, with all that lies in
            it. When it has grown, and lies still again, its batch is extended.

    Returns:
        The batches that this run started.

    Raises:
        ArchiveError: the inbox cannot be listed; the message says why and what to do.
        OutputError: the output cannot be listed, or lies in the inbox.
        TransientError: storage failed on every attempt.
        StartError: a batch cannot be started; those before it stay started.
    """
    plain_logs()
    started: list[Started] = []
    still, waiting = split(list_inbox(inbox, output, folders), settle_seconds)
    if still:
        target = find_deployment(deployment)
        new = without_run(still, target)
        if running := at_work(new):
            waiting |= running
            new = [archive for archive in new if archive not in running]
        if new:
            changed = look_again(new)
            waiting |= changed
            whole = [archive for archive in new if archive not in changed]
            started = start_batches(whole, output, target, settings, priority)
    report(started, waiting)
    return started

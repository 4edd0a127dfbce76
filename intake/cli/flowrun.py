"""A batch as a flow run of this process, on the dashboard of the Prefect server."""

from __future__ import annotations

from collections.abc import Callable

import httpx
from prefect.context import SettingsContext, get_settings_context

from flows.crop_archive import crop_archive
from pipeline.progress import Snapshot
from pipeline.settings import CropSettings
from pipeline.summary import Summary
from tasks.lifecycle.outlive import OUTCOME, Outcome, outlive_server
from tasks.lifecycle.server import was_hurried
from tasks.reporting.reporter import LISTENER


def _show_nothing(_: Snapshot) -> None:
    pass


def crop_in_flow(
    archive: str,
    output: str,
    settings: CropSettings,
    on_progress: Callable[[Snapshot], None] = _show_nothing,
) -> Summary:
    """Run the flow in this process, outside of any work pool.

    Args:
        archive, output, settings: as the flow takes them.
        on_progress: called a few times a second.

    Raises:
        What the flow raises.
    """
    outlive_server()
    outcome = Outcome()
    # nobody looks for the heartbeats of a run outside of a work pool, and the thread that sends
    # them ends only at a whole second; Prefect's temporary_settings would read them all again
    context = get_settings_context()
    flows = context.settings.flows.model_copy(update={"heartbeat_frequency": None})
    without = context.settings.model_copy(update={"flows": flows})
    noting, listening = OUTCOME.set(outcome), LISTENER.set(on_progress)
    try:
        with SettingsContext(profile=context.profile, settings=without):
            return crop_archive(archive, output, settings)
    except httpx.HTTPError as error:  # the flow could not tell its server how it ended
        if outcome.summary is not None:
            return outcome.summary
        if was_hurried():
            raise KeyboardInterrupt from error
        if outcome.error is not None:
            raise outcome.error from error
        raise
    finally:
        LISTENER.reset(listening)
        OUTCOME.reset(noting)

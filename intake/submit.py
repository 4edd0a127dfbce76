"""`facecrop submit`: an archive handed to a deployment, and followed there."""

from __future__ import annotations

import sys
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.utilities.urls import url_for
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from intake import batches
from intake.exits import DONE, DONE_WITH_FAILURES, FAILED, complain, explain
from intake.render import render
from tasks.settings import CropSettings


def submit(
    deployment: str,
    archive: str,
    output: str,
    settings: CropSettings,
    *,
    priority: int,
    project: str,
    watch: bool,
) -> int:
    """Hands the archive in, follows the run if asked to, and returns the exit code."""
    try:
        with get_client(sync_client=True) as client:
            run = batches.submit(
                client, deployment, archive, output, settings, priority=priority, project=project
            )
            print(f"{run.id}: {url_for('flow-run', obj_id=run.id)}", flush=True)
            return watch_batch(client, run.id) if watch else DONE
    except batches.BatchError as error:
        complain(str(error))
    except Exception as error:  # noqa: BLE001 - whatever it is, a person gets one line
        complain(explain(error, verbose=False))
    return FAILED


def watch_batch(client: SyncPrefectClient, batch: UUID) -> int:
    """Shows a batch's progress until it has ended, then what came of it; returns the exit code."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
    )
    quiet = not sys.stderr.isatty()
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=quiet) as bar:
        task = bar.add_task("queued", total=100)
        for seen in batches.follow(client, batch):
            bar.update(task, description=seen.state, completed=100 * seen.share)
    if seen.state != "completed":
        complain(f"{seen.state}: {seen.message or 'see the run in the Prefect UI'}")
        return FAILED
    summary = batches.summary(client, batch)
    print(render(summary), flush=True)
    return DONE_WITH_FAILURES if summary.failed else DONE

"""`facecrop submit`: an archive handed to a deployment, and followed there."""

from __future__ import annotations

import sys

from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import ObjectNotFound
from prefect.utilities.urls import url_for
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from intake import batches
from intake.exits import DONE, DONE_WITH_FAILURES, FAILED, complain, explain
from intake.render import render
from tasks.settings import CropSettings


def submit(
    deployment: str, archive: str, output: str, settings: CropSettings, *, watch: bool
) -> int:
    """Hands the archive in, follows the run if asked to, and returns the exit code."""
    try:
        run = batches.submit(deployment, archive, output, settings)
        print(f"{run.name}: {url_for('flow-run', obj_id=run.id)}", flush=True)
        return _watch(run) if watch else DONE
    except ObjectNotFound:
        complain(
            f"the Prefect server has no deployment {deployment}; "
            "`prefect deployment ls` lists those it has"
        )
    except Exception as error:  # noqa: BLE001 - whatever it is, a person gets one line
        complain(explain(error, verbose=False))
    return FAILED


def _watch(run: FlowRun) -> int:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
    )
    quiet = not sys.stderr.isatty()
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=quiet) as bar:
        task = bar.add_task("Scheduled", total=100)
        for sight in batches.follow(run.id):
            bar.update(task, description=sight.state, completed=sight.percent)
    if not sight.completed:
        complain(f"{sight.state}: {sight.message or 'see the run in the Prefect UI'}")
        return FAILED
    summary = batches.summary(run.id)
    print(render(summary), flush=True)
    return DONE_WITH_FAILURES if summary.failed else DONE

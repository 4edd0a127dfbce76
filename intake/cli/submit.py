"""`facecrop submit`: an archive handed to a deployment, and followed there."""

from __future__ import annotations

from uuid import uuid4

from prefect.client.orchestration import SyncPrefectClient

from intake.cli.asking import asked
from intake.cli.status import begun
from intake.control import batches
from intake.control.connection import patience
from pipeline.settings import CropSettings


def submit(
    deployment: str,
    archive: str,
    output: str,
    settings: CropSettings,
    *,
    priority: int,
    project: str,
    watch: bool,
    as_json: bool,
) -> int:
    """Hands the archive in, follows the run if asked to, and returns the exit code."""

    def hand_in(client: SyncPrefectClient) -> int:
        # by its key an answer that was lost, or refused by a busy server, makes no second batch
        with patience():
            run = batches.submit(
                client,
                deployment,
                archive,
                output,
                settings,
                priority=priority,
                project=project,
                key=str(uuid4()),
            )
        return begun(client, run, watch=watch, as_json=as_json)

    return asked(hand_in, as_json=as_json)

"""`facecrop submit`: an archive handed to a deployment, and followed there."""

from __future__ import annotations

from prefect.client.orchestration import SyncPrefectClient

from intake.cli.asking import asked
from intake.cli.status import begun
from intake.control import batches
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
        run = batches.submit(
            client, deployment, archive, output, settings, priority=priority, project=project
        )
        return begun(client, run, watch=watch, as_json=as_json)

    return asked(hand_in, as_json=as_json)

"""All of Facecrop on the Prefect server that this process uses."""

from __future__ import annotations

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.exceptions import ObjectNotFound

from deployments.apply import main as apply_deployments
from deployments.pools import worker_types
from tasks.lifecycle.concurrency import SHARDS, STORE

_FLOWS = (
    *("crop-archive", "crop-shard", "retry-failed", "preview", "recrop"),
    *("watch-inbox", "notify"),
)
_AUTOMATIONS = {
    "facecrop: a silent run has crashed",
    "facecrop: a run that does not start has crashed",
    "facecrop: a crashed batch is resumed",
    "facecrop: an archive has arrived",
}


def deploy() -> None:
    """Apply everything, unless it is there: that takes ten seconds of CPU."""
    with get_client(sync_client=True) as client:
        if not _is_there(client):
            assert apply_deployments() == 0


def _is_there(client: SyncPrefectClient) -> bool:
    try:
        for flow in _FLOWS:
            for kind in worker_types():
                client.read_deployment_by_name(f"{flow}/{kind}")
        for limit in (SHARDS, STORE):
            client.read_global_concurrency_limit_by_name(limit)
    except ObjectNotFound:
        return False
    return {one.name for one in client.read_automations()} >= _AUTOMATIONS


def forget_webhook() -> None:
    """Remove the automation that tells of ended batches, which would tell of other tests' too."""
    with get_client(sync_client=True) as client:
        for automation in client.read_automations_by_name("facecrop: tell of an ended batch"):
            client.delete_automation(automation.id)

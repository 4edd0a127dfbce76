"""The webhook that is notified of ended batches: its address and secret, and what sets it off."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from prefect.blocks.system import Secret
from prefect.client.orchestration import SyncPrefectClient
from prefect.events.actions import RunDeployment
from prefect.events.schemas.automations import AutomationCore
from pydantic import SecretStr

from deployments.automations import of_runs
from flows.notify import notify
from tasks.notify import SECRET_BLOCK, URL_BLOCK
from tasks.variables import WEBHOOK_SECRET, WEBHOOK_URL

_VARIABLES = {
    URL_BLOCK: WEBHOOK_URL,
    SECRET_BLOCK: WEBHOOK_SECRET,
}


class NoSecretError(Exception):
    """There is an address for notifications, but nothing to sign them with."""


def save_webhook() -> bool:
    """Save address and secret where the environment has them; return whether it has.

    Raises:
        NoSecretError: there is an address without a secret.
    """
    given = {block: variable.read() for block, variable in _VARIABLES.items()}
    if not given[URL_BLOCK]:
        return False
    if not given[SECRET_BLOCK]:
        raise NoSecretError(
            "FACECROP_WEBHOOK_URL is set, but not FACECROP_WEBHOOK_SECRET: make one with "
            "`openssl rand -hex 32`, and give it to the receiver, too"
        )
    for block, value in given.items():
        Secret(value=SecretStr(value)).save(block, overwrite=True)
    return True


def ended_batch(client: SyncPrefectClient, batches: Iterable[UUID], kind: str) -> AutomationCore:
    """Start `notify` when a batch is done or has failed.

    Args:
        client: of the server.
        batches: deployments of `crop-archive`. A crash is none of it: the batch is resumed.
        kind: of the work pool that the notification is sent from.
    """
    deployment = client.read_deployment_by_name(f"{notify.name}/{kind}")
    batch = {"__prefect_kind": "jinja", "template": "{{ flow_run.id }}"}
    return AutomationCore(
        name="facecrop: tell of an ended batch",
        description="Sends a signed webhook when a batch is done, has failed or was cancelled.",
        trigger=of_runs(
            batches, {f"prefect.flow-run.{state}" for state in ("Completed", "Failed", "Cancelled")}
        ),
        actions=[RunDeployment(deployment_id=deployment.id, parameters={"batch": batch})],
    )

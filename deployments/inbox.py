"""The inbox: a schedule that is paused at first, and an event that starts a run, too.

`prefect deploy` brings a deployment to what prefect.yaml says of it: parameters that were edited in
the UI would be lost, and a schedule be switched on or off as the file has it. So the schedule is no
part of that file but made here, once, and the parameters are put back.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate, DeploymentUpdate
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterName,
    FlowFilter,
    FlowFilterName,
)
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import IntervalSchedule
from prefect.events.actions import RunDeployment
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture

from flows.watch_inbox import watch_inbox

ARRIVED = "facecrop.archive.arrived"
"""The event that whoever puts an archive into the inbox may post."""

_SCHEDULE = DeploymentScheduleCreate(
    schedule=IntervalSchedule(interval=timedelta(seconds=60)), active=False
)
# A run that begins while another is at work is cancelled. What has arrived must have lain still for
# long enough when that other one listed the inbox, or nobody would start it.
_MARGIN = timedelta(seconds=15)


def inbox_deployments(client: SyncPrefectClient, kinds: Iterable[str]) -> list[DeploymentResponse]:
    """The inbox's deployments as they are, before they are deployed again."""
    return client.read_deployments(
        flow_filter=FlowFilter(name=FlowFilterName(any_=[watch_inbox.name])),
        deployment_filter=DeploymentFilter(name=DeploymentFilterName(any_=list(kinds))),
    )


def apply_inbox(
    client: SyncPrefectClient, kinds: Iterable[str], before: Iterable[DeploymentResponse]
) -> None:
    """Give the inbox's deployments back what an operator had set, and a schedule to the new ones.

    Args:
        client: of the server.
        kinds: of the work pools that were deployed for.
        before: what `inbox_deployments` gave.
    """
    edited = {one.id: one for one in before}
    for now in inbox_deployments(client, kinds):
        if old := edited.get(now.id):
            kept = DeploymentUpdate(parameters={**now.parameters, **old.parameters})
            client.update_deployment(now.id, kept)
        if not now.schedules:
            client.create_deployment_schedules(now.id, [_SCHEDULE])


def arrived(client: SyncPrefectClient) -> AutomationCore:
    """Start `watch-inbox/process` when an archive has arrived, and has then lain still."""
    deployment = client.read_deployment_by_name(f"{watch_inbox.name}/process")
    still = timedelta(seconds=deployment.parameters["settle_seconds"])
    return AutomationCore(
        name="facecrop: an archive has arrived",
        description=f"Scans the inbox after an event {ARRIVED}.",
        trigger=EventTrigger(expect={ARRIVED}, posture=Posture.Reactive, threshold=1),
        actions=[RunDeployment(deployment_id=deployment.id, schedule_after=still + _MARGIN)],
    )

"""What the server does by itself."""

from __future__ import annotations

from datetime import timedelta

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification

_SILENCE = timedelta(seconds=90)  # three heartbeats of deployments/pools.py

# A run that has sent a heartbeat and then neither another one nor its end is gone: its machine or
# its process died. Only Crashed does the batch that waits for it start the shard again.
SILENT_RUN = AutomationCore(
    name="facecrop: a silent run has crashed",
    description="Marks a run Crashed when its heartbeat stops, so that its shard is run again.",
    trigger=EventTrigger(
        match=ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*"}),
        after={"prefect.flow-run.heartbeat"},
        expect={
            "prefect.flow-run.heartbeat",
            "prefect.flow-run.Completed",
            "prefect.flow-run.Failed",
            "prefect.flow-run.Cancelled",
            "prefect.flow-run.Crashed",
            "prefect.flow-run.AwaitingRetry",
            "prefect.flow-run.Scheduled",
        },
        for_each={"prefect.resource.id"},
        posture=Posture.Proactive,
        threshold=1,
        within=_SILENCE,
    ),
    actions=[
        ChangeFlowRunState(
            state=StateType.CRASHED,
            message=f"No heartbeat for {_SILENCE.seconds} seconds: its process or machine died.",
        )
    ],
)


def apply_automation(client: SyncPrefectClient, automation: AutomationCore) -> None:
    """Makes an automation, or brings it up to date; switched off, it stays off."""
    there = client.read_automations_by_name(automation.name)
    if there:
        kept = automation.model_copy(update={"enabled": there[0].enabled})
        client.update_automation(there[0].id, kept)
    else:
        client.create_automation(automation)

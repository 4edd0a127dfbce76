"""What the server does by itself about runs whose process or machine is gone."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification

HEARTBEAT = "prefect.flow-run.heartbeat"
"""The event by which a run says that it is alive."""

_HEARD = timedelta(seconds=90)  # three heartbeats of deployments/pools.py
START = timedelta(minutes=10)
"""In which a run that was taken has to start: its container's image may have to be pulled first."""

SILENCE = "facecrop: a silent run has crashed"
RESUMES = "facecrop: a crashed batch is resumed"
"""The names of the automations that do it."""

_ELSEWHERE = {
    "prefect.flow-run.Completed",
    "prefect.flow-run.Failed",
    "prefect.flow-run.Cancelled",
    "prefect.flow-run.Crashed",
    "prefect.flow-run.AwaitingRetry",
    "prefect.flow-run.Scheduled",
    "prefect.flow-run.Suspended",
    "prefect.flow-run.Paused",
}
"""Where a run can be that nobody works on."""


def silent_run(deployments: Iterable[UUID]) -> AutomationCore:
    """Mark a run Crashed that was at work and is not heard of any more.

    Args:
        deployments: whose runs send heartbeats: those in our work pools, and no others.
    """
    return AutomationCore(
        name=SILENCE,
        description="Marks a run Crashed when its heartbeat stops: its process or machine died.",
        trigger=of_runs(
            deployments,
            {*_ELSEWHERE, HEARTBEAT},
            missing_for=_HEARD,
            after={"prefect.flow-run.Running", HEARTBEAT},
        ),
        actions=[
            ChangeFlowRunState(
                state=StateType.CRASHED,
                message=f"No heartbeat for {_HEARD.seconds} s: its process or machine died.",
            )
        ],
    )


def stuck_run(deployments: Iterable[UUID]) -> AutomationCore:
    """Mark a run Crashed that a worker took and never started."""
    return AutomationCore(
        name="facecrop: a run that does not start has crashed",
        description="Marks a run Crashed that was taken and not started: its worker died.",
        trigger=of_runs(
            deployments,
            {*_ELSEWHERE, "prefect.flow-run.Running"},
            missing_for=START,
            after={"prefect.flow-run.Pending"},
        ),
        actions=[
            ChangeFlowRunState(
                state=StateType.CRASHED,
                message=f"Taken and not started for {START.seconds // 60} minutes.",
            )
        ],
    )


def crashed_batch(deployments: Iterable[UUID]) -> AutomationCore:
    """Schedules a crashed batch again, which resumes it; the flow itself bounds how often.

    Args:
        deployments: those of `crop-archive`. A crashed shard is its batch's to start again.
    """
    return AutomationCore(
        name=RESUMES,
        description="Schedules a batch again whose process or machine died: it goes on from there.",
        trigger=of_runs(deployments, {"prefect.flow-run.Crashed"}),
        actions=[
            ChangeFlowRunState(
                state=StateType.SCHEDULED,
                name="AwaitingRetry",
                message="Its process or machine died; the next worker resumes it.",
            )
        ],
    )


def of_runs(
    deployments: Iterable[UUID],
    events: set[str],
    missing_for: timedelta = timedelta(0),
    after: Iterable[str] = (),
) -> EventTrigger:
    """Any of these events of a run of these deployments; or the lack of them all `after` others."""
    # heartbeats name a run's deployment by its id, and no work pool
    runs = [f"prefect.deployment.{number}" for number in deployments]
    return EventTrigger(
        match=ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*"}),
        match_related=ResourceSpecification(
            {"prefect.resource.role": "deployment", "prefect.resource.id": runs}
        ),
        after=set(after),
        expect=events,
        for_each={"prefect.resource.id"},
        posture=Posture.Proactive if missing_for else Posture.Reactive,
        threshold=1,
        within=missing_for,
    )


def apply_automation(client: SyncPrefectClient, automation: AutomationCore) -> None:
    """Make an automation, or bring it up to date; switched off, it stays off."""
    there = client.read_automations_by_name(automation.name)
    if there:
        kept = automation.model_copy(update={"enabled": there[0].enabled})
        client.update_automation(there[0].id, kept)
    else:
        client.create_automation(automation)

"""The inbox's schedule and event, on a real server with its services."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import DeploymentUpdate
from prefect.client.schemas.filters import FlowFilter, FlowFilterName
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import IntervalSchedule

from deployments.apply import main as apply_deployments
from deployments.inbox import inbox_deployments
from tests.workers import wait

pytestmark = [pytest.mark.timeout(650), pytest.mark.service, pytest.mark.slow]

RECIPE = Path(__file__).resolve().parents[2] / "docs" / "operate" / "inbox.md"
NAME = "facecrop: an archive has arrived"


@pytest.fixture(scope="module")
def client(prefect: dict[str, str]) -> Iterator[SyncPrefectClient]:
    """A client of a server on which the inbox is new; afterwards nothing is left of it."""
    os.environ["PREFECT_API_URL"] = prefect["PREFECT_API_URL"]
    with get_client(sync_client=True) as client:
        forget(client)  # what other tests applied
        assert apply_deployments() == 0
        yield client
        forget(client)


def forget(client: SyncPrefectClient) -> None:
    for found in inbox_deployments(client, ("process", "docker")):
        client.delete_deployment(found.id)
    for run in runs(client):
        client.delete_flow_run(run.id)


def deployment(client: SyncPrefectClient, kind: str = "process") -> DeploymentResponse:
    return client.read_deployment_by_name(f"watch-inbox/{kind}")


def runs(client: SyncPrefectClient) -> list[FlowRun]:
    return client.read_flow_runs(flow_filter=FlowFilter(name=FlowFilterName(any_=["watch-inbox"])))


def test_it_is_there_and_switched_off(client: SyncPrefectClient) -> None:
    for kind in ("process", "docker"):
        found = deployment(client, kind)
        (schedule,) = found.schedules
        assert not schedule.active
        assert isinstance(schedule.schedule, IntervalSchedule)
        assert schedule.schedule.interval == timedelta(seconds=60)
        assert found.parameters["deployment"] == f"crop-archive/{kind}"
        assert found.work_pool_name == f"facecrop-{kind}"
        assert found.global_concurrency_limit is not None
        assert found.global_concurrency_limit.limit == 1


@pytest.mark.skipif(shutil.which("curl") is None, reason="the recipe needs curl")
def test_an_event_that_is_posted_starts_a_run(client: SyncPrefectClient) -> None:
    assert runs(client) == []
    posted = datetime.now(UTC)
    post_by_the_recipe(client)
    wait(lambda: len(runs(client)) > 0, 60)
    (run,) = runs(client)
    assert run.deployment_id == deployment(client).id
    assert run.parameters == deployment(client).parameters
    # by then the archive has settled
    assert run.expected_start_time is not None
    assert run.expected_start_time > posted + timedelta(seconds=60)


def test_the_automation_is_made_once_and_stays_off(client: SyncPrefectClient) -> None:
    (made,) = client.read_automations_by_name(NAME)
    client.pause_automation(made.id)
    client.update_deployment(
        deployment(client).id,
        DeploymentUpdate(parameters=deployment(client).parameters | {"settle_seconds": 5}),
    )
    assert apply_deployments() == 0
    (kept,) = client.read_automations_by_name(NAME)
    assert (kept.id, kept.enabled) == (made.id, False)
    (action,) = kept.actions
    assert action.schedule_after == timedelta(seconds=20)  # type: ignore[union-attr]
    client.resume_automation(made.id)


def test_a_schedule_that_is_switched_on_starts_runs(client: SyncPrefectClient) -> None:
    found = deployment(client)
    client.update_deployment_schedule(found.id, found.schedules[0].id, active=True)

    def times() -> list[datetime]:
        scheduled = (run for run in runs(client) if run.auto_scheduled)
        return sorted(run.expected_start_time for run in scheduled if run.expected_start_time)

    wait(lambda: len(times()) > 2, 30)
    assert times()[1] - times()[0] == timedelta(seconds=60)


def test_what_an_operator_has_set_outlives_a_deployment(client: SyncPrefectClient) -> None:
    old = deployment(client)
    client.update_deployment(
        old.id,
        DeploymentUpdate(
            parameters={"inbox": "s3://in", "output": "s3://out", "priority": 2}, paused=True
        ),
    )
    every_hour = IntervalSchedule(interval=timedelta(hours=1))
    (schedule,) = old.schedules
    client.update_deployment_schedule(old.id, schedule.id, active=True, schedule=every_hour)
    before = deployment(client)
    assert apply_deployments() == 0
    after = deployment(client)
    assert after.schedules == before.schedules
    assert after.schedules[0].active
    assert after.paused
    added = {"deployment": "crop-archive/process", "settle_seconds": 60}  # by prefect.yaml
    assert after.parameters == {**added, **before.parameters}


def post_by_the_recipe(client: SyncPrefectClient) -> None:
    """Run what docs/operate/inbox.md tells people to run."""
    (recipe,) = re.findall(r"```sh\n(curl .*?)```", RECIPE.read_text(), re.DOTALL)
    subprocess.run(
        ["bash", "-euc", recipe],
        env=os.environ | {"PREFECT_API_URL": str(client.api_url).rstrip("/")},
        check=True,
        timeout=30,
    )

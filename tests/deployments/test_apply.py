"""`python -P -m deployments` on a real server, again and again."""

import os
import re
import subprocess
from collections import Counter
from typing import Any

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import (
    DeploymentUpdate,
    GlobalConcurrencyLimitUpdate,
    WorkPoolUpdate,
)

from deployments.apply import main as apply_deployments
from pipeline.settings import CropSettings
from tasks.lifecycle.concurrency import SHARDS, STORE

pytestmark = [pytest.mark.service, pytest.mark.slow]

POOLS = ("facecrop-process", "facecrop-docker")
FLOWS = ("crop-archive", "crop-shard")
_CHANGING = {
    "updated",
    "active_slots",
    "last_polled",
    "last_heartbeat",
    "status",
    "version_id",
    "version_info",
}


@pytest.fixture(scope="module")
def applied(prefect: dict[str, str]) -> None:
    """Everything is there, as this process's environment has it: it names the store of others."""
    os.environ["PREFECT_API_URL"] = prefect["PREFECT_API_URL"]
    assert apply_deployments() == 0


@pytest.fixture
def client(applied: None) -> Any:
    """Of a server on which everything has been applied."""
    with get_client(sync_client=True) as client:
        yield client


def everything(client: SyncPrefectClient) -> dict[str, Any]:
    """All that is registered, as the server has it."""
    found: dict[str, list[Any]] = {
        "pools": [client.read_work_pool(name) for name in POOLS],
        "queues": [
            sorted(client.read_work_queues(work_pool_name=name), key=lambda one: one.name)
            for name in POOLS
        ],
        "limits": [client.read_global_concurrency_limit_by_name(name) for name in (SHARDS, STORE)],
        "automations": [
            one
            for one in sorted(client.read_automations(), key=lambda one: one.name)
            if one.name.startswith("facecrop")
        ],
        "deployments": [
            client.read_deployment_by_name(f"{flow}/{pool.removeprefix('facecrop-')}")
            for flow in FLOWS
            for pool in POOLS
        ],
    }
    return {name: [_plain(one) for one in rows] for name, rows in found.items()}


def _plain(row: Any) -> Any:
    if isinstance(row, list):
        return [_plain(one) for one in row]
    return row.model_dump(exclude=_CHANGING)  # not as JSON: sets have no order


def test_it_may_be_applied_again(
    client: SyncPrefectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = everything(client)
    run = subprocess.run
    done: list[subprocess.CompletedProcess[str]] = []

    def kept(*arguments: Any, **options: Any) -> subprocess.CompletedProcess[str]:
        done.append(run(*arguments, **options))
        return done[-1]

    monkeypatch.setattr(subprocess, "run", kept)
    assert apply_deployments() == 0
    [deployed] = done
    every = Counter(re.findall(r"Deployment '(\S+)' successfully created", deployed.stdout))
    assert len(every) == 7 * len(POOLS)
    assert set(every.values()) == {1}
    assert everything(client) == first
    for queues in first["queues"]:
        by_name = {queue["name"]: queue["priority"] for queue in queues}
        assert {f"priority-{n}": n for n in range(1, 11)}.items() <= by_name.items()
    assert len(first["automations"]) >= 3


def test_what_an_operator_has_changed_stays(client: SyncPrefectClient) -> None:
    pool = POOLS[0]
    client.update_work_pool(pool, WorkPoolUpdate(concurrency_limit=7, is_paused=True))
    queue = client.read_work_queue_by_name("priority-3", work_pool_name=pool)
    client.update_work_queue(queue.id, concurrency_limit=2)
    client.update_global_concurrency_limit(
        STORE, GlobalConcurrencyLimitUpdate(limit=5, active=True)
    )
    automation = client.read_automations_by_name("facecrop: a silent run has crashed")[0]
    client.pause_automation(automation.id)
    batches = client.read_deployment_by_name("crop-archive/process")
    client.update_deployment(batches.id, DeploymentUpdate(paused=True))
    before = everything(client)
    try:
        assert apply_deployments() == 0
        assert everything(client) == before
        assert client.read_work_pool(pool).concurrency_limit == 7
        assert client.read_global_concurrency_limit_by_name(STORE).active
        assert not client.read_automations_by_name(automation.name)[0].enabled
        assert client.read_deployment(batches.id).paused
    finally:  # the server is other tests', too
        client.update_work_pool(pool, WorkPoolUpdate(concurrency_limit=None, is_paused=False))
        client.update_work_queue(queue.id, concurrency_limit=None)
        client.update_global_concurrency_limit(
            STORE, GlobalConcurrencyLimitUpdate(limit=100, active=False)
        )
        client.resume_automation(automation.id)
        client.update_deployment(batches.id, DeploymentUpdate(paused=False))


def test_the_run_form_shows_each_setting_with_its_description_and_bounds(
    client: SyncPrefectClient,
) -> None:
    schema = client.read_deployment_by_name("crop-archive/process").parameter_openapi_schema
    assert schema is not None
    parameters, definitions = schema["properties"], schema["definitions"]
    assert set(schema["required"]) == {"archive", "output"}
    assert all(parameters[name].get("description") for name in ("archive", "output", "priority"))
    assert (parameters["priority"]["minimum"], parameters["priority"]["maximum"]) == (1, 10)
    groups = definitions["CropSettings"]["properties"]
    assert set(groups) == set(CropSettings.model_fields)
    for name, about in groups.items():  # the V2 interface has the model's title above its group
        assert definitions[about["$ref"].rpartition("/")[2]]["title"] == name.capitalize()
    for name, model in definitions.items():
        for field, about in model["properties"].items():
            shown = definitions[about["$ref"].rpartition("/")[2]] if "$ref" in about else about
            assert shown.get("description"), f"{name}.{field}"
    side = definitions["DetectionSettings"]["properties"]["side"]
    assert {"minimum", "maximum", "default"} <= side.keys()

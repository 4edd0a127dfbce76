"""Flow runs in whatever state a test needs them, on a real server."""

from __future__ import annotations

import asyncio
import json
import os
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg  # type: ignore[import-untyped]
from prefect import task
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import ArtifactCreate
from prefect.client.schemas.objects import FlowRun, State

from pipeline.progress import Snapshot
from tasks.reporting.counts import COUNTS_KEY, to_rows
from tests.services import DATABASE


@task
def stand_in() -> None:
    """What a batch's run has in its list of tasks for a shard's run."""


def make_run(
    client: SyncPrefectClient,
    deployment: str,
    state: State[Any] | None = None,
    *,
    key: str | None = None,
    days: float | None = None,
    **parameters: Any,
) -> FlowRun:
    """A run of a deployment, FLOW/NAME, in a state that nobody has worked for; see `put`."""
    found = client.read_deployment_by_name(deployment)
    run = client.create_flow_run_from_deployment(
        found.id, parameters=parameters, idempotency_key=key
    )
    return put(client, run, state, days)


def make_batch(
    client: SyncPrefectClient,
    state: State[Any] | None = None,
    *,
    key: str | None = None,
    days: float | None = None,
    **parameters: Any,
) -> FlowRun:
    """A batch's run; its archive and output are nowhere unless they are given."""
    places = {"archive": f"/nowhere/{uuid4().hex}.zip", "output": f"/nowhere/{uuid4().hex}"}
    given = {**places, **parameters}
    return make_run(client, "crop-archive/process", state, key=key, days=days, **given)


def make_shard(
    client: SyncPrefectClient, batch: FlowRun, state: State[Any], days: float | None = None
) -> FlowRun:
    """A shard's run of a batch."""
    parent = client.create_task_run(stand_in, batch.id, dynamic_key=uuid4().hex)
    found = client.read_deployment_by_name("crop-shard/process")
    run = client.create_flow_run_from_deployment(
        found.id,
        parameters={**batch.parameters, "shard": 0, "settings": {}},
        parent_task_run_id=parent.id,
    )
    return put(client, run, state, days)


def put(
    client: SyncPrefectClient,
    run: FlowRun,
    state: State[Any] | None,
    days: float | None = None,
) -> FlowRun:
    """Put a run into a state, if need be as of so many days ago."""
    if state is not None:
        client.set_flow_run_state(run.id, state, force=True)
    if days is not None:
        _age(run, days)
    return client.read_flow_run(run.id)


def _age(run: FlowRun, days: float) -> None:
    """Has a run have ended so long ago, in the server's database: its API takes nobody's clock."""
    asyncio.run(_end(run.id, datetime.now(UTC) - timedelta(days=days)))


async def _end(run: UUID, when: datetime) -> None:
    server = await asyncpg.connect(os.environ[DATABASE].replace("+asyncpg", ""))
    try:
        change = "UPDATE flow_run SET end_time = $1 WHERE id = $2"
        assert await server.execute(change, when, run) == "UPDATE 1"
    finally:
        await server.close()


def report(client: SyncPrefectClient, run: FlowRun, seen: Snapshot) -> UUID:
    """Leaves the table on a run's page that says how far it is, as the run itself would."""
    rows = ArtifactCreate(
        key=COUNTS_KEY, type="table", data=json.dumps(to_rows(seen)), flow_run_id=run.id
    )
    return client.create_artifact(rows).id

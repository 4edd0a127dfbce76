"""New archives in an inbox, each handed to a deployment once.

What is remembered lies in two places. Prefect keeps one run for an archive's key, whoever asks for
it and however many at once; and where it has forgotten its runs, the batch's folder is there.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from uuid import UUID

import httpx
from prefect import task
from prefect.artifacts import create_table_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterId,
    FlowRunFilter,
    FlowRunFilterIdempotencyKey,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import TERMINAL_STATES, StateType
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import ObjectNotFound
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from pydantic import BaseModel, ConfigDict

from pipeline.settings import CropSettings
from storage.errors import RedactedError
from storage.fs.redact import shown_uri
from storage.inbox import Arrival, batch_output, new_arrivals
from tasks.lifecycle.priority import queue_name
from tasks.reporting.page import code
from tasks.retries import task_options

MOST_STARTED = 100  # by one run; the next one goes on
_LOOK_AGAIN_SECONDS = 5.0
_KEYS_AT_ONCE = 200  # the most runs that a server gives at a time
_ROWS_SHOWN = 100
_NOT_OVER = [one for one in StateType if one not in TERMINAL_STATES]
_STARTER = "facecrop.started-by"  # label of a batch's run: which run of the inbox's flow started it


class StartError(RedactedError):
    """A batch cannot be started."""


class Started(BaseModel):
    """A batch that was started, by this run and no other.

    Attributes:
        flow_run_id: of the run that crops it.
    """

    model_config = ConfigDict(frozen=True)

    archive: str
    output: str
    flow_run_id: UUID


list_inbox = task(name="list", task_run_name="list inbox", **task_options())(new_arrivals)


def split(
    arrivals: Sequence[Arrival], settle_seconds: int
) -> tuple[list[Arrival], dict[Arrival, str]]:
    """Those that lay still for long enough, and the others with why they do not count as still."""
    now = time.time()
    growing = {one: why for one in arrivals if (why := one.growing(now, settle_seconds))}
    return [one for one in arrivals if one not in growing], growing


def find_deployment(name: str) -> DeploymentResponse:
    """Asks the server for a deployment, `FLOW/NAME`.

    Raises:
        StartError: there is none.
    """
    with get_client(sync_client=True) as client:
        try:
            return client.read_deployment_by_name(name)
        except ObjectNotFound as error:
            raise StartError(
                f"The Prefect server has no deployment {name} to start batches with; "
                "`prefect deployment ls` lists those it has, `python -P -m deployments` makes ours."
            ) from error


def at_work(arrivals: Sequence[Arrival]) -> dict[Arrival, str]:
    """Folders, `MOST_STARTED` at most, whose batch is still at work, with what is told of them.

    Two runs at one output do no harm, but both would crop what is not done yet.
    """
    tags = {one.tag: one for one in arrivals if one.is_folder}
    if not tags:
        return {}
    wanted = FlowRunFilter(
        tags=FlowRunFilterTags(any_=list(tags)),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=_NOT_OVER)),
    )
    with get_client(sync_client=True) as client:
        runs = client.read_flow_runs(flow_run_filter=wanted)
    return {
        tags[tag]: f"its batch is still at work: {run.id}"
        for run in runs
        for tag in run.tags
        if tag in tags
    }


def without_run(arrivals: Sequence[Arrival], deployment: DeploymentResponse) -> list[Arrival]:
    """The first `MOST_STARTED` of those that the server has no run for."""
    ours = FlowFilter(id=FlowFilterId(any_=[deployment.flow_id]))
    found: list[Arrival] = []
    with get_client(sync_client=True) as client:
        for first in range(0, len(arrivals), _KEYS_AT_ONCE):
            some = arrivals[first : first + _KEYS_AT_ONCE]
            keys = FlowRunFilterIdempotencyKey(any_=[one.key for one in some])
            wanted = FlowRunFilter(idempotency_key=keys)
            runs = client.read_flow_runs(flow_filter=ours, flow_run_filter=wanted)
            known = {run.idempotency_key for run in runs}
            found += (one for one in some if one.key not in known)
            if len(found) >= MOST_STARTED:
                break
    return found[:MOST_STARTED]


@task(name="look again", **task_options())
def look_again(arrivals: list[Arrival]) -> dict[Arrival, str]:
    """Those that change within some seconds, with how."""
    time.sleep(_LOOK_AGAIN_SECONDS)
    return {one: how for one in arrivals if (how := one.changed())}


@task(name="start batches", **task_options(attempts=1))
def start_batches(
    arrivals: list[Arrival],
    output: str,
    deployment: DeploymentResponse,
    settings: CropSettings,
    priority: int,
) -> list[Started]:
    """Start a batch for each archive, but for those that another run starts at this moment.

    Raises:
        StartError: the server refuses one; those before it stay started.
    """
    log = get_run_logger()
    started = []
    with get_client(sync_client=True) as client:
        for arrival in arrivals:
            place = batch_output(output, arrival)
            try:
                # No subflow of ours: it lives on its own, however this run ends or is deleted.
                run = client.create_flow_run_from_deployment(
                    deployment.id,
                    name=shown_uri(arrival.uri),
                    parameters={
                        "archive": arrival.uri,
                        "output": place,
                        "settings": _settings(settings, arrival).model_dump(mode="json"),
                        "priority": priority,
                    },
                    idempotency_key=arrival.key,
                    tags=[arrival.tag] if arrival.is_folder else None,
                    # one that is served by a process of its own has no work pool and no queues
                    work_queue_name=queue_name(priority) if deployment.work_pool_name else None,
                    labels={_STARTER: flow_run.id},
                )
            except httpx.HTTPError as error:
                reason = " ".join(str(error).split())[:300] or type(error).__name__
                raise StartError(
                    f"The Prefect server does not start a batch for {arrival.uri}: {reason}"
                ) from error
            if run.labels.get(_STARTER) == flow_run.id:
                log.info("Started %s: %s into %s", run.id, arrival.uri, place)
                started.append(Started(archive=arrival.uri, output=place, flow_run_id=run.id))
    return started


def _settings(settings: CropSettings, arrival: Arrival) -> CropSettings:
    """Those of an arrival's batch: that of a folder goes on where it ended when it grew."""
    if not arrival.is_folder:
        return settings
    run = settings.run.model_copy(update={"existing": "extend"})
    return settings.model_copy(update={"run": run})


def report(started: Sequence[Started], waiting: Mapping[Arrival, str]) -> None:
    """Says what this run started and what is still waited for: in the log, and in a table."""
    log = get_run_logger()
    log.info("%d started, %d still settling.", len(started), len(waiting))
    if len(started) == MOST_STARTED:
        log.warning("%d batches are the most that one run starts; the next goes on.", MOST_STARTED)
    rows = [  # which the UI takes for Markdown
        *(
            {"Archive": code(one.archive), "State": f"started: {one.flow_run_id}"}
            for one in started
        ),
        *({"Archive": code(one.uri), "State": code(why)} for one, why in waiting.items()),
    ]
    if rows:
        create_table_artifact(
            rows[:_ROWS_SHOWN],
            key="inbox",
            description=f"{len(started)} started, {len(waiting)} still settling",
        )

"""Batches on a Prefect server: handing one in and following it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun
from prefect.deployments import run_deployment

from storage.location import resolve
from storage.output import Output
from tasks.reporter import shares
from tasks.settings import CropSettings
from tasks.summary import Summary

_POLL_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Sight:
    """A batch as the server sees it at one moment.

    Attributes:
        state: Prefect's name for the flow run's state, such as `Running`.
        message: what the state says of itself, if anything.
        percent: 0 to 100 of the members done.
        final: whether it will not change any more.
        completed: whether it ended well.
    """

    state: str
    message: str
    percent: float
    final: bool
    completed: bool


def submit(deployment: str, archive: str, output: str, settings: CropSettings) -> FlowRun:
    """Starts a run of a deployment, `FLOW/NAME`, and does not wait for it.

    Raises:
        ObjectNotFound: the server has no such deployment.
    """
    run = run_deployment(
        deployment,
        parameters={
            "archive": _absolute(archive),
            "output": _absolute(output),
            "settings": settings.model_dump(mode="json"),
        },
        timeout=0,
    )
    assert isinstance(run, FlowRun)  # a coroutine only where an event loop runs
    return run


def follow(run: UUID) -> Iterator[Sight]:
    """Looks at a batch every second, until it has ended."""
    with get_client(sync_client=True) as client:
        while True:
            sight = _look(client, run)
            yield sight
            if sight.final:
                return
            time.sleep(_POLL_SECONDS)


def summary(run: UUID) -> Summary:
    """What came of a batch that is done, from the record at its output.

    Raises:
        StorageError, TransientError: the output cannot be read from here.
    """
    with get_client(sync_client=True) as client:
        done = client.read_flow_run(run)
    output = Output(done.parameters["output"])
    seconds = done.total_run_time.total_seconds()
    return Summary.of(done.parameters["archive"], output.uri, output.totals(), None, seconds)


def _look(client: SyncPrefectClient, run: UUID) -> Sight:
    state = client.read_flow_run(run).state
    percent = 100 * shares(client, [run]).get(run, 0.0)
    if state is None:
        return Sight("Unknown", "", percent, final=False, completed=False)
    return Sight(
        state.name or state.type.value,
        state.message or "",
        percent,
        state.is_final(),
        state.is_completed(),
    )


def _absolute(uri: str) -> str:
    """A path as it is called from anywhere on this machine: the run starts in another folder."""
    location = resolve(uri)
    return location.path if location.is_local else uri

"""`facecrop workers`: who polls Facecrop's work pools, and how many there shall be."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import StateType, Worker, WorkerStatus
from prefect.client.schemas.sorting import FlowRunSort

from intake.cli.asking import answer
from intake.cli.console import DONE, fail
from intake.control.filters import every, in_states, of_pool
from intake.control.queues import pools
from tasks.variables import KUBE_DEPLOYMENT

_COMPOSE_FILE = Path(__file__).resolve().parents[2] / "infra" / "compose.yaml"
_COMPOSE = ("docker", "compose", "-f", str(_COMPOSE_FILE))
_WORKER_LABEL = "prefect.worker.name"  # a worker gives it to each run that it takes
_MISSED = 3  # heartbeats in a row, as the server has it, which looks only now and then
_HEARTBEAT_SECONDS = 30  # between heartbeats, of a worker that does not say
_FORGET_SECONDS = 24 * 3600.0
_PROBE_SECONDS = 20  # for a cluster or a Docker engine to say whether it is there


@dataclass(frozen=True, slots=True)
class WorkerSight:
    """One worker at one moment.

    Attributes:
        name: as it calls itself.
        pool: name of the work pool that it polls.
        type: of the pool: process, docker or kubernetes.
        status: ONLINE or OFFLINE by its last heartbeat; UNKNOWN has runs but is not, or no
            more, among the pool's workers.
        heartbeat_seconds: since its last heartbeat; None if there was none.
        runs: Running flow runs that it has taken.
    """

    name: str
    pool: str
    type: str
    status: str
    heartbeat_seconds: float | None
    runs: int


# Requests: one for the pools; a pool, one for each 200 of its workers and one for each 200 of its
# Running runs: they are listed, as the server counts by state and queue but not by label.
def read_workers(client: SyncPrefectClient, *, forgotten: bool) -> list[WorkerSight]:
    """Read the workers of Facecrop's pools, by pool and name.

    Args:
        client: of the server.
        forgotten: whether to give those, too, that have been silent for a day and run nothing.
            The server never deletes a worker, and each that restarts has a new name.
    """
    found = []
    for pool in pools(client):
        taken = _runs_taken(client, pool.name)
        for worker in every(partial(client.read_workers_for_work_pool, pool.name)):
            status, silence = _status(worker)
            runs = taken.pop(worker.name, 0)
            if forgotten or runs or (silence is not None and silence < _FORGET_SECONDS):
                found.append(WorkerSight(worker.name, pool.name, pool.type, status, silence, runs))
        found += [
            WorkerSight(name, pool.name, pool.type, "UNKNOWN", None, runs)
            for name, runs in taken.items()
        ]
    return sorted(found, key=lambda worker: (worker.pool, worker.name))


def show_or_scale(count: int | None, *, forgotten: bool, as_json: bool) -> int:
    """Print the workers, or have `count` of them run, and return the exit code."""
    if count is not None:
        return _scale(count, as_json=as_json)
    return answer(
        lambda client: read_workers(client, forgotten=forgotten),
        {
            "worker": lambda row: row.name,
            "pool": lambda row: row.pool,
            "type": lambda row: row.type,
            "status": lambda row: row.status.lower(),
            "heartbeat": lambda row: (
                "" if row.heartbeat_seconds is None else f"{row.heartbeat_seconds:,.0f} s ago"
            ),
            "runs": lambda row: f"{row.runs:,}",
        },
        as_json=as_json,
        nothing="no worker has polled in a day (--all shows those of before); "
        "start one with: prefect worker start --pool facecrop-process",
    )


def _runs_taken(client: SyncPrefectClient, pool: str) -> Counter[str]:
    """How many Running runs of a pool each worker has taken, by its name."""
    runs = every(
        partial(
            client.read_flow_runs,
            flow_run_filter=FlowRunFilter(state=in_states(StateType.RUNNING)),
            work_pool_filter=of_pool(pool),
            sort=FlowRunSort.ID_DESC,
        )
    )
    return Counter(str(run.labels.get(_WORKER_LABEL, "(not said)")) for run in runs)


def _status(worker: Worker) -> tuple[str, float | None]:
    """ONLINE or OFFLINE, and the seconds since the last heartbeat."""
    if worker.last_heartbeat_time is None:
        return WorkerStatus.OFFLINE.value, None
    silence = max(0.0, (datetime.now(UTC) - worker.last_heartbeat_time).total_seconds())
    bound = _MISSED * (worker.heartbeat_interval_seconds or _HEARTBEAT_SECONDS)
    alive = worker.status == WorkerStatus.ONLINE and silence <= bound
    status = WorkerStatus.ONLINE if alive else WorkerStatus.OFFLINE
    return status.value, round(silence, 1)


def _scale(count: int, *, as_json: bool) -> int:
    """Has `count` workers run, on Kubernetes where it has them, else by Docker Compose."""
    deployment = KUBE_DEPLOYMENT.read()
    context, no_context = _probe("kubectl", "config", "current-context")
    name, no_deployment = _probe("kubectl", "get", deployment, "--output", "name")
    project, no_project = _probe(*_COMPOSE, "ps", "--quiet")
    if context and name:
        command = ["kubectl", "scale", deployment, f"--replicas={count}"]
    elif project:
        # `worker` at the end leaves alone what an operator has stopped
        up = ["up", "-d", "--no-recreate", "--scale", f"worker={count}", "worker"]
        command = [*_COMPOSE, *up]
    else:
        return fail(
            f"there are no workers to scale here: kubectl: {no_context or no_deployment}; "
            f"docker compose: {no_project or 'Facecrop is not up'}",
            as_json=as_json,
        )
    if not as_json:
        print(shlex.join(command), flush=True)
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    except OSError as error:
        return fail(f"{command[0]}: {error.strerror}", as_json=as_json)
    if done.returncode:
        return fail(f"{shlex.join(command)}: {_last_line(done.stderr)}", as_json=as_json)
    if as_json:
        print(json.dumps({"workers": count, "command": command}), flush=True)
    return DONE


def _probe(*command: str) -> tuple[str, str]:
    """What a command prints, and why it prints nothing."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=_PROBE_SECONDS
        )
    except FileNotFoundError:
        return "", "not installed"
    except subprocess.TimeoutExpired:
        return "", f"no answer in {_PROBE_SECONDS} s"
    except OSError as error:
        return "", str(error.strerror)
    if done.returncode:
        return "", _last_line(done.stderr)
    return done.stdout.strip(), ""


def _last_line(text: str) -> str:
    """The line of an error output that says what is wrong: the last but for hints at the help."""
    lines = [line for line in text.splitlines() if line.strip() and "--help" not in line]
    return lines[-1].strip() if lines else "it says nothing"

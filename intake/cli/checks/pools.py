"""Facecrop's work pools, and the workers that poll them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import WorkPool, WorkPoolStatus
from prefect.events.filters import EventFilter, EventNameFilter, EventResourceFilter
from prefect.events.schemas.events import ResourceSpecification

from intake.cli.checks.check import REGISTER, Check
from intake.cli.checks.server import minor
from intake.cli.workers import WorkerSight, read_workers
from intake.control import queues
from intake.control.filters import of_pool
from intake.control.queues import POOL_PREFIX, due

_POOLS = ("process", "docker", "kubernetes")
_EVENTS = 50  # the most that the server hands out at a time


def pools(client: SyncPrefectClient) -> Iterator[Check]:
    """Whether each pool is there, is not paused and has a worker."""
    found = queues.pools(client)
    if not found:
        yield Check("work pools", "bad", f"there is no {POOL_PREFIX}* pool", REGISTER)
        return
    some_ready = any(pool.status == WorkPoolStatus.READY for pool in found)
    for pool in found:
        yield _pool(client, pool, some_ready=some_ready)
    there = {pool.name for pool in found}
    for name in (POOL_PREFIX + kind for kind in _POOLS):
        if name not in there:
            yield Check(f"pool {name}", "-", "not registered, so batches cannot run on it")


def _pool(client: SyncPrefectClient, pool: WorkPool, *, some_ready: bool) -> Check:
    name = f"pool {pool.name}"
    if pool.is_paused:
        return Check(name, "bad", "paused", f"run `prefect work-pool resume {pool.name}`")
    if pool.status == WorkPoolStatus.READY:
        return Check(name, "ok", "ready")
    fix = f"start one: `prefect worker start --pool {pool.name}`"
    waiting = client.count_flow_runs(flow_run_filter=due(), work_pool_filter=of_pool(pool.name))
    if waiting:
        return Check(name, "bad", f"not ready: no worker polls it, and {waiting:,} runs wait", fix)
    # Who uses one kind of pool does not mind the others.
    return Check(name, "-" if some_ready else "bad", "not ready: no worker polls it", fix)


def workers(client: SyncPrefectClient, at_server: str) -> Iterator[Check]:
    """Who polls each pool, and whether with the server's version of Prefect."""
    by_pool: dict[str, list[WorkerSight]] = {}
    for worker in read_workers(client, forgotten=False):
        by_pool.setdefault(worker.pool, []).append(worker)
    for pool, sights in by_pool.items():
        name = f"workers {pool}"
        online = [worker for worker in sights if worker.status == "ONLINE"]
        offline = sum(worker.status == "OFFLINE" for worker in sights)
        versions = _worker_versions(client, online)
        told = ", ".join(f"{count} of Prefect {one}" for one, count in sorted(versions.items()))
        reason = f"{len(online)} online, {offline} offline" + (f"; {told}" if told else "")
        if any(minor(one) != minor(at_server) for one in versions):
            fix = f"install prefect {minor(at_server)}, as the server has it, and restart them"
            yield Check(name, "bad", reason, fix)
        else:
            yield Check(name, "ok" if online else "-", reason)
    if not by_pool:
        yield Check("workers", "-", "none has polled in a day")


def _worker_versions(client: SyncPrefectClient, workers: list[WorkerSight]) -> Counter[str]:
    """How many workers have which Prefect, of those that have told.

    A worker tells in the events of its start and of each run that it takes, which the server keeps
    for a week.
    """
    versions: Counter[str] = Counter()
    names = [worker.name for worker in workers]
    for first in range(0, len(names), _EVENTS):
        page = client.read_events(
            EventFilter(
                event=EventNameFilter(
                    name=["prefect.worker.started", "prefect.worker.submitted-flow-run"]
                ),
                resource=EventResourceFilter(
                    labels=ResourceSpecification(
                        {"prefect.resource.name": names[first : first + _EVENTS]}
                    ),
                    distinct=True,  # the newest of each worker
                ),
            ),
            limit=_EVENTS,
        )
        told = (event.resource.get("prefect.version") for event in page.events)
        versions.update(one for one in told if one)
    return versions

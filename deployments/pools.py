"""Work pools with their job templates, and ten queues in each."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.exceptions import ObjectNotFound
from prefect.workers.base import BaseWorker

from deployments.secrets import references
from deployments.worker import FacecropWorker
from tasks.lifecycle.priority import queue_name
from tasks.variables import (
    DOCKER_MEMORY,
    DOCKER_NETWORK,
    DOCKER_USER,
    DOCKER_VOLUME,
    ENDPOINT_URL,
    IMAGE,
    JOB_TEMPLATE,
    OF_RUNS,
    REGION,
)

PREFIX = "facecrop-"
PRIORITIES = range(1, 11)  # 1 is first, as it is in Prefect's work queues

# Where the object store is, for containers that do not inherit their worker's environment.
_PASSED_ON = (ENDPOINT_URL, REGION)

# Containers of runs are as bare of privileges as those of infra/compose.yaml.
_HARDENED: dict[str, Any] = {
    "init": True,
    "read_only": True,
    "tmpfs": {"/tmp": "size=512m,mode=1777"},
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges:true"],
    "pids_limit": 1000,
}


def worker_types() -> dict[str, type[BaseWorker[Any, Any, Any]]]:
    """The kinds of pool that can be made here, by the end of their names."""
    types: dict[str, type[BaseWorker[Any, Any, Any]]] = {"process": FacecropWorker}
    with suppress(ImportError):
        from prefect_docker.worker import DockerWorker

        types["docker"] = DockerWorker
    if JOB_TEMPLATE.is_set():
        from prefect_kubernetes.worker import KubernetesWorker

        types["kubernetes"] = KubernetesWorker
    return types


def apply_pool(
    client: SyncPrefectClient, name: str, worker: type[BaseWorker[Any, Any, Any]]
) -> None:
    """Make a pool, or bring it up to date; its limits and its pause stay as they are."""
    template = job_template(worker)
    try:
        client.read_work_pool(PREFIX + name)
    except ObjectNotFound:
        client.create_work_pool(
            WorkPoolCreate(name=PREFIX + name, type=worker.type, base_job_template=template)
        )
    else:
        client.update_work_pool(PREFIX + name, WorkPoolUpdate(base_job_template=template))
    _apply_queues(client, PREFIX + name)


def job_template(worker: type[BaseWorker[Any, Any, Any]]) -> dict[str, Any]:
    """What a run of this kind of pool is started with."""
    if worker.type == "kubernetes":
        template: dict[str, Any] = json.loads(Path(JOB_TEMPLATE.read()).read_text("utf-8"))
    else:
        template = worker.get_default_base_job_template()
    for variable, value in _defaults(worker).items():
        template["variables"]["properties"][variable]["default"] = value
    return template


def _defaults(worker: type[BaseWorker[Any, Any, Any]]) -> dict[str, Any]:
    """What a job's variables are where nobody says otherwise."""
    own = {variable.name: variable.value for variable in OF_RUNS}
    if worker.type != "docker":
        return {"env": own}
    store = {one.name: one.read() for one in _PASSED_ON if one.is_set()} | references()
    network, volume, user = DOCKER_NETWORK.read(), DOCKER_VOLUME.read(), DOCKER_USER.read()
    return {
        "env": own | store,
        "image": IMAGE.read(),
        "image_pull_policy": "IfNotPresent",  # the image may have been built where it runs
        "auto_remove": True,
        "networks": [network] if network else [],
        "volumes": [volume] if volume else [],
        "mem_limit": DOCKER_MEMORY.read(),
        "container_create_kwargs": _HARDENED | ({"user": user} if user else {}),
    }


def _apply_queues(client: SyncPrefectClient, pool: str) -> None:
    there = {queue.name: queue for queue in client.read_work_queues(work_pool_name=pool)}
    for priority in PRIORITIES:
        name = queue_name(priority)
        # One after the other from the first: Prefect moves the others down to make room.
        if name not in there:
            client.create_work_queue(name, priority=priority, work_pool_name=pool)
        elif there[name].priority != priority:
            client.update_work_queue(there[name].id, priority=priority)

"""Work pools with their job templates, and ten queues in each."""

from __future__ import annotations

import json
import os
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

PREFIX = "facecrop-"
PRIORITIES = range(1, 11)  # 1 is first, as it is in Prefect's work queues

# In every run's environment, whatever starts it.
_RUN_ENVIRONMENT = {
    # Silence for three of these and the automation marks the run Crashed. 30 is the least allowed.
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
    # A container that is being stopped reschedules its run instead of failing it.
    "PREFECT_FLOW_RUN_EXECUTE_SIGTERM_BEHAVIOR": "reschedule",
    # `python -m prefect.engine` would take modules from where its worker was started.
    "PYTHONSAFEPATH": "1",
    # What the server answers while its database is being restarted.
    "PREFECT_CLIENT_RETRY_EXTRA_CODES": "500",
}


# Where the object store is, for containers that do not inherit their worker's environment.
_PASSED_ON = ("AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION")

# Containers of runs are as bare of privileges as those of infra/compose.yaml.
_HARDENED: dict[str, Any] = {
    "init": True,
    "read_only": True,
    "tmpfs": {"/tmp": "size=512m,mode=1777"},
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges:true"],
    "pids_limit": 1000,
}

# Names the file of infra/kubernetes/job-template.json, where there is a cluster to run Jobs on.
_JOB_TEMPLATE = "FACECROP_KUBERNETES_JOB_TEMPLATE"


def worker_types() -> dict[str, type[BaseWorker[Any, Any, Any]]]:
    """The kinds of pool that can be made here, by the end of their names."""
    types: dict[str, type[BaseWorker[Any, Any, Any]]] = {"process": FacecropWorker}
    with suppress(ImportError):
        from prefect_docker.worker import DockerWorker

        types["docker"] = DockerWorker
    if _JOB_TEMPLATE in os.environ:
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
        template: dict[str, Any] = json.loads(Path(os.environ[_JOB_TEMPLATE]).read_text())
    else:
        template = worker.get_default_base_job_template()
    for variable, value in _defaults(worker).items():
        template["variables"]["properties"][variable]["default"] = value
    return template


def _defaults(worker: type[BaseWorker[Any, Any, Any]]) -> dict[str, Any]:
    """What a job's variables are where nobody says otherwise."""
    if worker.type != "docker":
        return {"env": _RUN_ENVIRONMENT}
    store = {name: os.environ[name] for name in _PASSED_ON if name in os.environ} | references()
    network = os.environ.get("FACECROP_DOCKER_NETWORK")
    volume = os.environ.get("FACECROP_DOCKER_VOLUME")
    user = os.environ.get("FACECROP_DOCKER_USER")
    return {
        "env": _RUN_ENVIRONMENT | store,
        "image": os.environ.get("FACECROP_IMAGE", "facecrop"),
        "image_pull_policy": "IfNotPresent",  # the image may have been built where it runs
        "auto_remove": True,
        "networks": [network] if network else [],
        "volumes": [volume] if volume else [],
        "mem_limit": os.environ.get("FACECROP_DOCKER_MEMORY", "3g"),
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

"""`python -P -m deployments.serve`: this machine runs what is handed to `crop-archive/local`.

It has a work pool of its own, so that a run starts here as it does on any other worker.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from detection.sandbox.safepath import safe_path
from tasks.environment import set_environment
from tasks.variables import QUERY_SECONDS

_NAME = "local"


def main() -> int:
    """Make the pool and the deployment, and work until told to stop; return the exit code."""
    import asyncio
    from contextlib import suppress

    from prefect.client.orchestration import get_client
    from prefect.deployments.runner import RunnerDeployment
    from prefect.types.entrypoint import EntrypointType

    from deployments.pools import PREFIX, apply_pool
    from deployments.worker import FacecropWorker
    from flows.crop_archive import crop_archive
    from tasks.lifecycle.priority import queue_name

    pool = PREFIX + _NAME
    with get_client(sync_client=True) as client:
        apply_pool(client, _NAME, FacecropWorker)
    deployment = crop_archive.to_deployment(
        _NAME,
        description=crop_archive.description,
        work_pool_name=pool,
        work_queue_name=queue_name(5),
        job_variables={"working_dir": str(Path.cwd())},  # what a relative path begins at
        entrypoint_type=EntrypointType.MODULE_PATH,
    )
    assert isinstance(deployment, RunnerDeployment)  # a coroutine only where an event loop runs
    deployment.apply()
    print(f"Waiting for runs of crop-archive/{_NAME}.", flush=True)
    with suppress(asyncio.CancelledError, KeyboardInterrupt):  # it was told to stop
        asyncio.run(FacecropWorker(pool, name=_NAME, limit=1).start())
    return 0


if __name__ == "__main__":
    set_environment()  # before Prefect is imported
    os.environ.update(safe_path(os.environ))  # for the processes of its runs
    os.environ.setdefault(QUERY_SECONDS.name, QUERY_SECONDS.value)
    sys.exit(main())

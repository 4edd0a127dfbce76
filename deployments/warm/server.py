"""`python -P -m deployments.warm.server FD`: forks runs of Prefect's engine."""

from __future__ import annotations

import runpy
import socket
import sys
import warnings

from detection.forking.server import ForkServer
from storage.hidden import without_pandas

# What the runs of every flow import, whether as they begin or on the way.
_MODULES = (
    "prefect.engine",
    "prefect.flow_engine",
    "prefect.task_engine",
    "prefect.task_runners",
    "prefect._internal.metrics",
    "prefect.runner.storage",
    "prefect.logging.handlers",
    "prefect.artifacts",
    "prefect.deployments.steps.core",
    "flows.crop_archive",
    "flows.crop_shard",
    "flows.retry_failed",
    "flows.preview",
    "flows.recrop",
    "flows.notify",
    "flows.watch_inbox",
    "pyarrow.parquet",
)


def _run() -> None:
    sys.argv = ["prefect.engine"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # that the module has been imported
        runpy.run_module("prefect.engine", run_name="__main__", alter_sys=True)


def main() -> None:
    """Import, and fork whenever a worker asks."""
    server = ForkServer(socket.socket(fileno=int(sys.argv[1])), "facecrop-run")
    with without_pandas():
        server.load(_MODULES)
        server.serve(_run)


if __name__ == "__main__":
    main()

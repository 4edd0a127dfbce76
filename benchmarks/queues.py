"""Queues that people would use instead, on a Redis and workers of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec

from infra.servers.ports import free_ports
from infra.servers.process import end
from pipeline.cores import cores

QUEUES = {
    "celery": ["celery", "-A", "benchmarks.celery_app", "worker", "-c", str(cores())],
    "rq": ["rq.cli", "worker-pool", "-n", str(cores())],
}
"""How the workers of each are started, by `python -m`."""


def is_there(queue: str) -> bool:
    """Whether its package and Redis are installed."""
    return all(find_spec(module) for module in (queue, "redis")) and bool(
        shutil.which("redis-server")
    )


@contextmanager
def running(queues: Sequence[str]) -> Iterator[dict[str, int]]:
    """Run Redis and a worker, with a process a core, for each queue; give the workers' ids.

    Their processes load what they need with their first task.
    """
    with ExitStack() as stack:
        if queues:
            port = str(free_ports(1)[0])
            # the first is ours, the second RQ's
            for variable in ("REDIS_URL", "RQ_REDIS_URL"):
                os.environ[variable] = f"redis://127.0.0.1:{port}/0"
            redis = ["redis-server", "--bind", "127.0.0.1", "--port", port, "--save", ""]
            stack.enter_context(_process(redis))
        yield {
            queue: stack.enter_context(_process([sys.executable, "-m", *QUEUES[queue]]))
            for queue in queues
        }


@contextmanager
def _process(command: Sequence[str]) -> Iterator[int]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process.pid
    finally:
        end(process)

"""`python -m deployments`: registers all of Facecrop on the server of PREFECT_API_URL.

May be run again and again; what an operator has changed (a pool's limit, a paused queue, a global
limit's slots, an automation switched off) is left as it is.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
from prefect.exceptions import ObjectNotFound

from deployments.automations import SILENT_RUN, apply_automation
from deployments.pools import PREFIX, apply_pool, worker_types

_ROOT = Path(__file__).resolve().parent.parent
_LIMITS = {"facecrop-shards": 1000}  # slots: shards that run at a time, over all batches and pools


def main() -> int:
    """Applies everything; returns the exit code."""
    with get_client(sync_client=True) as client:
        for name, worker in worker_types().items():
            apply_pool(client, name, worker)
            print(f"work pool   {PREFIX}{name}")
        for name, slots in _LIMITS.items():
            _apply_limit(client, name, slots)
            print(f"limit       {name}")
        apply_automation(client, SILENT_RUN)
        print(f"automation  {SILENT_RUN.name}")
    names = [f"*/{name}" for name in worker_types()]
    return _deploy(names)


def _apply_limit(client: SyncPrefectClient, name: str, slots: int) -> None:
    try:
        client.read_global_concurrency_limit_by_name(name)
    except ObjectNotFound:
        client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=name, limit=slots))


def _deploy(names: list[str]) -> int:
    """Deploys what prefect.yaml describes for these pools, by Prefect's own command."""
    wanted = [part for name in names for part in ("--name", name)]
    prefect = str(Path(sys.executable).parent / "prefect")
    done = subprocess.run(
        [prefect, "--no-prompt", "deploy", *wanted], cwd=_ROOT, capture_output=True, text=True
    )
    if done.returncode:
        print(done.stdout, done.stderr, file=sys.stderr)
    else:
        for name in names:
            print(f"deployment  {name}")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())

"""Registers all of Facecrop on the server of PREFECT_API_URL.

May be run again and again; what an operator has changed (a pool's limit, a paused queue or
deployment, a global limit's slots, what is set for the inbox, an automation switched off) is left
as it is.
"""

from __future__ import annotations

import subprocess
import sys
from itertools import chain
from pathlib import Path
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import DeploymentUpdate
from prefect.client.schemas.filters import FlowFilter, FlowFilterName

from deployments.automations import apply_automation, crashed_batch, silent_run, stuck_run
from deployments.inbox import apply_inbox, arrived, inbox_deployments
from deployments.limits import SHARDS_LIMIT, STORE_LIMIT, apply_limit
from deployments.notifications import NoSecretError, ended_batch, save_webhook
from deployments.pools import PREFIX, apply_pool, worker_types
from deployments.secrets import save_keys

_HERE = Path(__file__).resolve().parent
# prefect.yaml lies at the root of a checkout, and in this folder where a wheel has put it
_FOLDER = _HERE if (_HERE / "prefect.yaml").is_file() else _HERE.parent
_FLOWS = (
    *("crop-archive", "crop-shard", "retry-failed", "preview", "recrop"),
    *("watch-inbox", "notify"),
)


def main() -> int:
    """Apply everything; return the exit code."""
    kinds = list(worker_types())
    with get_client(sync_client=True) as client:
        if "docker" in kinds:
            for block in save_keys():
                print(f"secret      {block}")
        try:
            notifies = save_webhook()
        except NoSecretError as error:
            print(f"deployments: {error}", file=sys.stderr)
            return 1
        for name, worker in worker_types().items():
            apply_pool(client, name, worker)
            print(f"work pool   {PREFIX}{name}")
        for limit in (SHARDS_LIMIT, STORE_LIMIT):
            apply_limit(client, limit)
            print(f"limit       {limit.name}")
        before, paused = inbox_deployments(client, kinds), _paused(client)
        code = _deploy(kinds)
        apply_inbox(client, kinds, before)
        for deployment in paused:  # `prefect deploy` has them all go on
            client.update_deployment(deployment, DeploymentUpdate(paused=True))
        if code == 0:
            _automate(client, kinds, notifies=notifies)
    return code


def _paused(client: SyncPrefectClient) -> list[UUID]:
    """Facecrop's deployments that take no runs, because an operator said so."""
    ours = FlowFilter(name=FlowFilterName(any_=list(_FLOWS)))
    return [one.id for one in client.read_deployments(flow_filter=ours) if one.paused]


def _automate(client: SyncPrefectClient, kinds: list[str], *, notifies: bool) -> None:
    """Apply the automations, which name the deployments that they are for."""
    batches, *others = (
        [client.read_deployment_by_name(f"{flow}/{kind}").id for kind in kinds] for flow in _FLOWS
    )
    every = [*batches, *chain(*others)]
    automations = [
        silent_run(every),
        stuck_run(every),
        crashed_batch(batches),
        arrived(client),
    ]
    if notifies:
        automations.append(ended_batch(client, batches, kinds[0]))
    for automation in automations:
        apply_automation(client, automation)
        print(f"automation  {automation.name}")


def _deploy(kinds: list[str]) -> int:
    """Deploys what prefect.yaml describes for these pools, by Prefect's own command.

    A name without a flow stands for the deployments of all flows. A pattern, as in `*/process`,
    would deploy each of them as often as there are flows: it becomes such a name for each of these.
    """
    wanted = [part for kind in kinds for part in ("--name", kind)]
    prefect = [sys.executable, "-P", "-m", "prefect", "--no-prompt", "deploy"]
    done = subprocess.run([*prefect, *wanted], cwd=_FOLDER, capture_output=True, text=True)
    if done.returncode:
        print(done.stdout, done.stderr, file=sys.stderr)
    else:
        for kind in kinds:
            print(f"deployment  */{kind}")
    return done.returncode

"""Global concurrency limits: what an operator turns to spare the workers or the object store."""

from __future__ import annotations

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
from prefect.exceptions import ObjectNotFound

from tasks.lifecycle.concurrency import SHARDS, STORE

SHARDS_LIMIT = GlobalConcurrencyLimitCreate(name=SHARDS, limit=1000)
STORE_LIMIT = GlobalConcurrencyLimitCreate(name=STORE, limit=100, active=False)


def apply_limit(client: SyncPrefectClient, limit: GlobalConcurrencyLimitCreate) -> None:
    """Make a limit; one that is there stays as an operator has set it."""
    try:
        client.read_global_concurrency_limit_by_name(limit.name)
    except ObjectNotFound:
        client.create_global_concurrency_limit(limit)

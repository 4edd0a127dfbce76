"""The global concurrency limits that an operator turns: names, and how a run keeps them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress

import httpx
from prefect.client.orchestration import get_client
from prefect.concurrency.asyncio import ConcurrencySlotAcquisitionError
from prefect.concurrency.sync import concurrency
from prefect.exceptions import ObjectNotFound

from storage.fs.location import resolve
from tasks.lifecycle.server import is_away

SHARDS = "facecrop-shards"
"""Slots: shards that run at a time, over all batches and work pools."""

STORE = "facecrop-object-store"
"""Slots: chunks in flight at a time, over all runs, that read or write an object store. A chunk has
four range reads or one batch of puts under way."""


def shard_slot() -> AbstractContextManager[None]:
    """One slot for a whole shard."""
    return _slot(SHARDS)


class StoreSlots:
    """Slots for chunks that read or write an object store.

    A slot costs the server two requests a chunk, so whether the limit is switched on is asked once
    a run; an operator who switches it on reaches the runs that start from then on.
    """

    def __init__(self, *uris: str) -> None:
        self._limited = not all(resolve(uri).is_local for uri in uris) and _is_on(STORE)

    def slot(self) -> AbstractContextManager[None]:
        """One slot for one chunk; nothing where there is no limit."""
        return _slot(STORE) if self._limited else nullcontext()


@contextmanager
def _slot(limit: str) -> Iterator[None]:
    """A slot, for which the work waits, but not where there is no server that could give one."""
    taken = None if is_away() else concurrency(limit, strict=False)
    if taken is not None:
        try:
            taken.__enter__()
        except ConcurrencySlotAcquisitionError:
            taken = None
    try:
        yield
    finally:
        if taken is not None:
            with suppress(httpx.HTTPError):  # the server frees it after some minutes
                taken.__exit__(None, None, None)


def _is_on(limit: str) -> bool:
    try:
        with get_client(sync_client=True) as client:
            return client.read_global_concurrency_limit_by_name(limit).active
    except (ObjectNotFound, httpx.HTTPError):
        return False

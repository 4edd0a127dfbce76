"""A client that waits for the end of the batch that it hands in: `?wait=SECONDS`."""

from __future__ import annotations

import asyncio
import itertools
from typing import Annotated
from uuid import UUID

import anyio
import httpx
from fastapi import Depends, Query, Request
from starlette.concurrency import run_in_threadpool

from intake.control.batches import BatchError
from intake.http.bodies import Face, Queued, Waited
from intake.http.dependencies import Caller, Root, Service, ServiceOf
from intake.http.keys import Client
from storage.errors import StorageError, TransientError
from storage.output.output import Output

_MOST_SECONDS = 60
_MOST_FACES = 1000
TELL_SECONDS = 5.0
"""That the Prefect server may take to say how far a batch or a preview is."""

Seconds = Annotated[
    float,
    Query(
        alias="wait",
        ge=0,
        le=_MOST_SECONDS,
        allow_inf_nan=False,
        description="The answer comes when the batch has ended, or after so many seconds: with its "
        f"status and, of a completed batch, its first {_MOST_FACES} faces. It does not wait where "
        "too many requests do already. 0: at once, without any of that.",
    ),
]


class Patience:
    """How long a client waits, if it does."""

    def __init__(
        self, request: Request, service: Service, who: Client, root: str, seconds: float
    ) -> None:
        self._request = request
        self._service = service
        self._who = who
        self._root = root
        self._seconds = seconds

    async def has_waited(self, run: UUID) -> bool:
        """Wait for the end of a run, if that is wanted; say whether there is anybody to be told."""
        if not self._seconds:
            return False
        with self._service.metrics.waiting.track_inprogress():
            await self._wait(run)
        return not await self._request.is_disconnected()

    async def answer(self, queued: Queued) -> Queued:
        """What a client is told that has handed a batch in, when it is to be told.

        Where the Prefect server does not say how far the batch is, it is told as one that does not
        wait: it has to learn which batch is its own.
        """
        if not await self.has_waited(queued.batch_id):
            return queued
        asked = queued.batch_id, self._who.confined_to
        self._service.statuses.forget(asked)
        try:
            async with asyncio.timeout(TELL_SECONDS):
                seen = await self._service.statuses.get(asked)
        except (TimeoutError, BatchError, StorageError, TransientError, httpx.HTTPError):
            return queued
        waited = Waited.after(queued, seen, self._root)
        if seen.state == "completed":
            await run_in_threadpool(_add_faces, waited, seen.output)
        return waited

    async def _wait(self, batch: UUID) -> None:
        """Wait for the end of a batch, no longer than the client is there."""
        with anyio.move_on_after(self._seconds):
            async with anyio.create_task_group() as group:

                async def watch_client() -> None:
                    while (await self._request.receive())["type"] != "http.disconnect":
                        pass
                    group.cancel_scope.cancel()

                group.start_soon(watch_client)
                await self._service.ends.wait(batch)
                group.cancel_scope.cancel()


async def _patience(
    request: Request, service: ServiceOf, who: Caller, root: Root, seconds: Seconds = 0
) -> Patience:
    return Patience(request, service, who, root, seconds)


Waiting = Annotated[Patience, Depends(_patience)]


def _add_faces(waited: Waited, output: str) -> None:
    """Has an answer tell of the faces at an output, where they can be read from here."""
    try:
        rows = list(itertools.islice(Output(output).face_rows(), _MOST_FACES + 1))
    except (StorageError, TransientError):
        return
    waited.faces = [Face.model_validate(row) for row in rows[:_MOST_FACES]]
    waited.more_faces = len(rows) > _MOST_FACES

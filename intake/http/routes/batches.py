"""Routes by which a batch is followed and steered."""

from __future__ import annotations

import asyncio
import csv
import io
import itertools
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from typing import Annotated, Any, Literal
from uuid import UUID, uuid4

import httpx
from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent
from prefect.client.orchestration import SyncPrefectClient
from starlette.concurrency import run_in_threadpool

from intake.control import batches, steering
from intake.control.store import BATCHES
from intake.http.bodies import (
    TERMS_VALUES,
    BatchStatus,
    FailedImage,
    FailedPage,
    Links,
    QueueStats,
    Recropping,
    Retried,
    read_body,
)
from intake.http.ceilings import hold
from intake.http.dependencies import Batch, BatchId, Caller, Root, Service, ServiceOf
from intake.http.keys import Client
from intake.http.problems import ProblemError
from intake.http.routes.downloads import Download, output_of
from intake.http.transfers import TERMS_BYTES, stream_body
from pipeline.recrop.settings import RecropSettings
from pipeline.settings import CropSettings, LimitSettings
from storage.errors import StorageError, TransientError
from storage.output.manifest import FAILED_COLUMNS, failed_cells

router = APIRouter(prefix="/api/batch")

_EVENT_SECONDS = 1.0
_CSV_ROWS = 1000
_CSV = "text/csv"


@router.get("/status/{batchId}", response_model=BatchStatus, tags=["follow"], summary="Status")
async def status(batch: BatchId, root: Root, service: ServiceOf, who: Caller) -> Response:
    """How far a batch is; at most a second old, and its counts some seconds."""
    seen = await service.statuses.get((batch, who.confined_to))
    return Response(_body(seen, root), media_type="application/json")


async def _known(batch: BatchId, service: ServiceOf, who: Caller) -> None:
    """What is no batch is a problem, not a stream."""
    await service.statuses.get((batch, who.confined_to))


@router.get(
    "/status/{batchId}/events",
    response_class=EventSourceResponse,
    dependencies=[Depends(_known)],
    tags=["follow"],
    summary="Status as events",
)
async def events(
    batch: BatchId, root: Root, service: ServiceOf, who: Caller
) -> AsyncIterator[ServerSentEvent]:
    """The same as server-sent events: `status` whenever it has changed, and `end` at the end."""
    last = ""
    while not service.stopping():
        try:
            seen = await service.statuses.get((batch, who.confined_to))
        except (TransientError, StorageError, httpx.HTTPError):
            yield ServerSentEvent(comment="no answer, asking again")
        else:
            body = _body(seen, root)
            if seen.final:
                yield ServerSentEvent(event="end", raw_data=body)
                return
            if body != last:
                yield ServerSentEvent(event="status", raw_data=body)
                last = body
        await asyncio.sleep(_EVENT_SECONDS)


@router.get("/queue-stats", tags=["follow"], summary="Queues")
async def queue_stats(service: ServiceOf, who: Caller) -> QueueStats:
    """What waits, runs and has ended, by priority; some seconds old.

    Of the batches that are the caller's own; for an admin of all, and of their shards.
    """
    return QueueStats.of(await service.queues.get(who.confined_to))


@router.head("/{batchId}/failed", include_in_schema=False)
@router.get(
    "/{batchId}/failed",
    response_model=FailedPage,
    responses={200: {"content": {_CSV: {"schema": {"type": "string"}}}}},
    tags=["fetch"],
    summary="Failed images",
)
def failed(
    batch: Batch,
    request: Request,
    offset: Annotated[int, Query(ge=0, le=1 << 40, description="How many to leave out.")] = 0,
    limit: Annotated[int, Query(ge=1, le=10_000, description="How many at most.")] = 1000,
    format: Annotated[
        Literal["json", "csv"] | None, Query(description="csv: all of them, as failed.csv.")
    ] = None,
    accept: Annotated[str, Header(include_in_schema=False)] = "",
) -> Any:
    """The images that failed; of a batch that is not finished, those so far.

    A page of them as JSON, or all as CSV with `format=csv` or `Accept: text/csv`.
    """
    rows = output_of(batch).failed_rows()
    if format == "csv" or (format is None and _CSV in accept):
        return Download(
            request,
            _as_csv(rows),
            media_type=_CSV,
            headers={"Content-Disposition": f'attachment; filename="{batch.id}-failed.csv"'},
        )
    if request.method == "HEAD":
        return Download(request, _as_csv(rows), media_type="application/json")
    found = list(itertools.islice(rows, offset, offset + limit + 1))
    return FailedPage(
        batch_id=batch.id,
        offset=offset,
        limit=limit,
        failed=[FailedImage.model_validate(row) for row in found[:limit]],
        more=len(found) > limit,
    )


@router.post("/{batchId}/retry", status_code=202, tags=["steer"], summary="Retry")
def retry(
    batch: Batch,
    root: Root,
    service: ServiceOf,
    who: Caller,
    limits: Annotated[LimitSettings, Query()],
) -> Retried:
    """Retry the failed images of a completed batch, into the same output.

    Limits that are given are raised for it, for images that failed by them.
    """
    hold(CropSettings(limits=limits), service.settings)
    run = steering.retry(service.client, batch.id, service.owner(who), limits)
    return Retried(batch_id=batch.id, run_id=run.id, links=Links.of(batch.id, root))


@router.post(
    "/{batchId}/recrop",
    status_code=202,
    tags=["steer"],
    summary="Recrop",
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": {"$ref": "#/components/schemas/RecropSettings"}}
            },
        }
    },
)
async def recrop(
    batch: Batch, request: Request, root: Root, service: ServiceOf, who: Caller
) -> Recropping:
    """Cut the faces of a completed batch out another way, into a batch of its own.

    Nothing is searched for faces again; `where` says which are wanted.
    """
    data = bytearray()
    async for piece in stream_body(request, service, TERMS_BYTES):
        data += piece
    asked = await service.threads.parse(
        lambda: read_body(RecropSettings, bytes(data), TERMS_VALUES)
    )
    if asked.cuts:
        raise ProblemError(422, "cuts: name one way to cut a request, as crop.")
    held = hold(CropSettings(crop=asked.crop, run=asked.run), service.settings)
    asked = asked.model_copy(update={"crop": held.crop, "run": held.run})
    output = f"{service.settings.store}/{BATCHES}/{uuid4().hex}"
    run = await run_in_threadpool(
        steering.recrop, service.client, batch.id, output, asked, service.owner(who)
    )
    return Recropping(batch_id=run.id, of_batch_id=batch.id, links=Links.of(run.id, root))


@router.post("/{batchId}/cancel", status_code=202, tags=["steer"], summary="Cancel")
def cancel(batch: Batch, root: Root, service: ServiceOf, who: Caller) -> BatchStatus:
    """End a batch. What it has done stays."""
    return _steer(steering.cancel, batch.id, root, service, who)


@router.post("/{batchId}/pause", status_code=202, tags=["steer"], summary="Pause")
def pause(batch: Batch, root: Root, service: ServiceOf, who: Caller) -> BatchStatus:
    """Have a batch leave its workers within seconds, until it is resumed."""
    return _steer(steering.pause, batch.id, root, service, who)


@router.post("/{batchId}/resume", status_code=202, tags=["steer"], summary="Resume")
def resume(batch: Batch, root: Root, service: ServiceOf, who: Caller) -> BatchStatus:
    """Have a paused batch go on."""
    return _steer(steering.resume, batch.id, root, service, who)


def _steer(
    act: Callable[[SyncPrefectClient, UUID], None],
    batch: UUID,
    root: str,
    service: Service,
    who: Client,
) -> BatchStatus:
    act(service.client, batch)
    service.statuses.forget((batch, who.confined_to))
    return BatchStatus.of(batches.status(service.client, batch), root)


def _body(seen: batches.Status, root: str) -> str:
    return BatchStatus.of(seen, root).model_dump_json(by_alias=True)


def _as_csv(rows: Iterator[dict[str, Any]]) -> Generator[bytes]:
    """As the output's own failed.csv, with its byte-order mark."""
    text = io.StringIO("\ufeff", newline="")
    text.seek(0, io.SEEK_END)
    sheet = csv.writer(text)
    sheet.writerow(FAILED_COLUMNS)
    while some := list(itertools.islice(rows, _CSV_ROWS)):
        sheet.writerows(map(failed_cells, some))
        yield text.getvalue().encode()
        text.seek(0)
        text.truncate()
    yield text.getvalue().encode()

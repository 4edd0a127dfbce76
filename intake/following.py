"""Routes by which a batch is followed and steered."""

from __future__ import annotations

import asyncio
import csv
import io
import itertools
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from typing import Annotated, Any, Literal
from uuid import UUID

import httpx
from fastapi import APIRouter, Header, Path, Query, Request, Response
from fastapi.responses import StreamingResponse
from prefect.client.orchestration import SyncPrefectClient

from intake import batches, steering
from intake.bodies import BatchStatus, FailedImage, FailedPage, Links, QueueStats, Retried
from intake.fetching import Download, output_of
from intake.serving import Caller, Service, ServiceOf
from storage.errors import StorageError, TransientError
from storage.manifest import FAILED_COLUMNS, failed_cells

router = APIRouter(prefix="/api/batch")

_EVENT_SECONDS = 1.0
_KEEP_ALIVE_SECONDS = 15.0  # proxies cut what is silent for a minute
_CSV_ROWS = 1000
_EVENTS = "text/event-stream"
_CSV = "text/csv"

BatchId = Annotated[UUID, Path(alias="batchId", description="As it was handed out.")]


@router.get("/status/{batchId}", response_model=BatchStatus, tags=["follow"], summary="Status")
async def status(batch: BatchId, request: Request, service: ServiceOf, _: Caller) -> Response:
    """How far a batch is; at most a second old, and its counts some seconds."""
    seen = await service.statuses.get(batch)
    return Response(_body(seen, request), media_type="application/json")


@router.get(
    "/status/{batchId}/events",
    response_class=StreamingResponse,
    responses={200: {"content": {_EVENTS: {"schema": {"type": "string"}}}}},
    tags=["follow"],
    summary="Status as events",
)
async def events(batch: BatchId, request: Request, service: ServiceOf, _: Caller) -> Response:
    """The same as server-sent events: `status` whenever it has changed, and `end` at the end."""
    await service.statuses.get(batch)  # what is no batch is a problem, no stream
    return StreamingResponse(
        _events(batch, request, service),
        media_type=_EVENTS,
        headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
    )


@router.get("/queue-stats", tags=["follow"], summary="Queues")
async def queue_stats(service: ServiceOf, _: Caller) -> QueueStats:
    """What waits, runs and has ended, by priority; some seconds old."""
    return QueueStats.of(await service.queues.get(None))


@router.get(
    "/{batchId}/failed",
    response_model=FailedPage,
    responses={200: {"content": {_CSV: {"schema": {"type": "string"}}}}},
    tags=["fetch"],
    summary="Failed images",
)
def failed(
    batch: BatchId,
    service: ServiceOf,
    _: Caller,
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
    rows = output_of(service, batch).failed_rows()
    if format == "csv" or (format is None and _CSV in accept):
        return Download(
            _as_csv(rows),
            media_type=_CSV,
            headers={"Content-Disposition": f'attachment; filename="{batch}-failed.csv"'},
        )
    found = list(itertools.islice(rows, offset, offset + limit + 1))
    return FailedPage(
        batch_id=batch,
        offset=offset,
        limit=limit,
        failed=[FailedImage.model_validate(row) for row in found[:limit]],
        more=len(found) > limit,
    )


@router.post("/{batchId}/retry", status_code=202, tags=["steer"], summary="Retry")
def retry(batch: BatchId, request: Request, service: ServiceOf, _: Caller) -> Retried:
    """Drives the failed images of a completed batch again, into the same output."""
    run = steering.retry(service.client, batch)
    return Retried(batch_id=batch, run_id=run.id, links=_links(batch, request))


@router.post("/{batchId}/cancel", status_code=202, tags=["steer"], summary="Cancel")
def cancel(batch: BatchId, request: Request, service: ServiceOf, _: Caller) -> BatchStatus:
    """Ends a batch. What it has done stays."""
    return _steer(steering.cancel, batch, request, service)


@router.post("/{batchId}/pause", status_code=202, tags=["steer"], summary="Pause")
def pause(batch: BatchId, request: Request, service: ServiceOf, _: Caller) -> BatchStatus:
    """Has a batch leave its workers within seconds, until it is resumed."""
    return _steer(steering.pause, batch, request, service)


@router.post("/{batchId}/resume", status_code=202, tags=["steer"], summary="Resume")
def resume(batch: BatchId, request: Request, service: ServiceOf, _: Caller) -> BatchStatus:
    """Has a paused batch go on."""
    return _steer(steering.resume, batch, request, service)


def _steer(
    act: Callable[[SyncPrefectClient, UUID], None], batch: UUID, request: Request, service: Service
) -> BatchStatus:
    act(service.client, batch)
    service.statuses.forget(batch)
    return BatchStatus.of(batches.status(service.client, batch), _root(request))


async def _events(batch: UUID, request: Request, service: Service) -> AsyncIterator[bytes]:
    last, quiet = b"", 0.0
    while not service.stopping():
        try:
            seen = await service.statuses.get(batch)
        except (TransientError, StorageError, httpx.HTTPError):
            yield b": no answer, asking again\n\n"
        else:
            body = _body(seen, request)
            if seen.final:
                yield b"event: end\ndata: " + body + b"\n\n"
                return
            if body != last:
                yield b"event: status\ndata: " + body + b"\n\n"
                last, quiet = body, 0.0
            elif (quiet := quiet + _EVENT_SECONDS) >= _KEEP_ALIVE_SECONDS:
                yield b": still here\n\n"
                quiet = 0.0
        await asyncio.sleep(_EVENT_SECONDS)


def _body(seen: batches.Status, request: Request) -> bytes:
    return BatchStatus.of(seen, _root(request)).model_dump_json(by_alias=True).encode()


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


def _links(batch: UUID, request: Request) -> Links:
    return Links.of(batch, _root(request))


def _root(request: Request) -> str:
    return str(request.scope.get("root_path", ""))

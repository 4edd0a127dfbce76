"""Routes by which what came of a batch is fetched: streamed, whatever its size."""

from __future__ import annotations

import itertools
from collections.abc import Generator, Iterator
from contextlib import suppress
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Response
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from intake.batches import find
from intake.crops_zip import stream_zip
from intake.problems import ProblemError
from intake.serving import Caller, Service, ServiceOf
from storage.output import MANIFEST, Output

router = APIRouter(prefix="/api/batch", tags=["fetch"])

_REPORT = "report.html"
_PIECE = 256 << 10  # bytes handed on at a time
_PARQUET = "application/vnd.apache.parquet"
_ZIP = "application/zip"
_HTML = "text/html"

BatchId = Annotated[UUID, Path(alias="batchId", description="As it was handed out.")]


class Download(StreamingResponse):
    """An answer whose pieces are made while it is sent, and no longer than somebody takes them.

    What goes wrong before the first piece is there can still become a problem.
    """

    def __init__(
        self, pieces: Generator[bytes], media_type: str, headers: dict[str, str] | None = None
    ) -> None:
        first = list(itertools.islice(pieces, 1))
        super().__init__(itertools.chain(first, pieces), headers=headers, media_type=media_type)
        self._pieces = pieces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends it, as ASGI has it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            # Left to the garbage collector, its files would stay open after a client has gone. A
            # piece that is being made as the service stops cannot be broken off.
            with suppress(ValueError):
                self._pieces.close()


def _binary(media_type: str) -> dict[int | str, dict[str, object]]:
    return {200: {"content": {media_type: {"schema": {"type": "string", "format": "binary"}}}}}


@router.get(
    "/{batchId}/manifest",
    response_class=StreamingResponse,
    responses=_binary(_PARQUET),
    summary="Manifest",
)
def manifest(batch: BatchId, service: ServiceOf, _: Caller) -> Response:
    """A finished batch's manifest.parquet: a row a member of the archive."""
    output = output_of(service, batch)
    size = _finished(output, batch)
    return Download(
        output.pieces(MANIFEST),
        media_type=_PARQUET,
        headers={"Content-Length": str(size), **_attachment(batch, MANIFEST)},
    )


@router.get(
    "/{batchId}/crops.zip",
    response_class=StreamingResponse,
    responses=_binary(_ZIP),
    summary="Crops",
)
def crops(batch: BatchId, service: ServiceOf, _: Caller) -> Response:
    """A finished batch's crops as a ZIP that is sent while it is made."""
    output = output_of(service, batch)
    _finished(output, batch)
    return Download(
        _gathered(stream_zip(output.crops())),
        media_type=_ZIP,
        headers=_attachment(batch, "crops.zip"),
    )


@router.get(
    "/{batchId}/report", response_class=StreamingResponse, responses=_binary(_HTML), summary="Page"
)
def report(batch: BatchId, service: ServiceOf, _: Caller) -> Response:
    """A batch's report.html."""
    output = output_of(service, batch)
    size = output.size(_REPORT)
    if size is None:
        raise ProblemError(404, f"Batch {batch} has no report yet; it is written at its end.")
    return Download(
        output.pieces(_REPORT),
        media_type=_HTML,
        # names in it come from archives: should one ever be taken for markup, it stays locked in
        headers={"Content-Length": str(size), "Content-Security-Policy": "sandbox allow-scripts"},
    )


def output_of(service: Service, batch: UUID) -> Output:
    """Where a batch writes.

    Raises:
        UnknownBatchError: there is no such batch.
    """
    return Output(find(service.client, batch).parameters["output"])


def _finished(output: Output, batch: UUID) -> int:
    """Bytes of the manifest.

    Raises:
        ProblemError: there is none.
    """
    size = output.size(MANIFEST)
    if size is None:
        raise ProblemError(409, f"Batch {batch} is not finished; its status says how far it is.")
    return size


def _attachment(batch: UUID, name: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="{batch}-{name}"'}


def _gathered(pieces: Iterator[bytes]) -> Generator[bytes]:
    """The same bytes in larger pieces: each one costs a thread's attention."""
    waiting = bytearray()
    for piece in pieces:
        waiting += piece
        if len(waiting) >= _PIECE:
            yield bytes(waiting)
            waiting.clear()
    yield bytes(waiting)

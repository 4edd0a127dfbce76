"""Routes for downloads of results, streamed whatever their size."""

from __future__ import annotations

import itertools
from collections.abc import Generator, Iterator
from contextlib import suppress
from uuid import UUID

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse
from prefect.client.schemas.objects import FlowRun
from starlette.types import Receive, Scope, Send

from intake.http.crops_zip import stream_zip
from intake.http.dependencies import Batch
from intake.http.problems import ProblemError
from storage.output.layout import MANIFEST
from storage.output.output import Output

router = APIRouter(prefix="/api/batch", tags=["fetch"])

_REPORT = "report.html"
_PIECE = 256 << 10  # bytes handed on at a time
_PARQUET = "application/vnd.apache.parquet"
_ZIP = "application/zip"
_HTML = "text/html"


class Download(StreamingResponse):
    """An answer whose pieces are made while it is sent, and no longer than somebody takes them.

    What goes wrong before the first piece is there can still become a problem. Of a HEAD request no
    piece is made.
    """

    def __init__(
        self,
        request: Request,
        pieces: Generator[bytes],
        media_type: str,
        headers: dict[str, str] | None = None,
    ) -> None:
        if request.method == "HEAD":
            pieces.close()
        first = list(itertools.islice(pieces, 1))
        super().__init__(itertools.chain(first, pieces), headers=headers, media_type=media_type)
        self._pieces = pieces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it, as ASGI has it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            # Left to the garbage collector, its files would stay open after a client has gone. A
            # piece that is being made as the service stops cannot be broken off.
            with suppress(ValueError):
                self._pieces.close()


def _binary(media_type: str) -> dict[int | str, dict[str, object]]:
    return {200: {"content": {media_type: {"schema": {"type": "string", "format": "binary"}}}}}


@router.head("/{batchId}/manifest", include_in_schema=False)
@router.get(
    "/{batchId}/manifest",
    response_class=StreamingResponse,
    responses=_binary(_PARQUET),
    summary="Manifest",
)
def manifest(batch: Batch, request: Request) -> Response:
    """A finished batch's manifest.parquet: a row a member of the archive."""
    output, size = _finished(batch)
    headers = {"Content-Length": str(size), **_attachment(batch.id, MANIFEST)}
    return Download(request, output.pieces(MANIFEST), _PARQUET, headers)


@router.head("/{batchId}/crops.zip", include_in_schema=False)
@router.get(
    "/{batchId}/crops.zip",
    response_class=StreamingResponse,
    responses=_binary(_ZIP),
    summary="Crops",
)
def crops(batch: Batch, request: Request) -> Response:
    """A finished batch's crops as a ZIP that is sent while it is made."""
    output, _ = _finished(batch)
    pieces = _gathered(stream_zip(output.crops()))
    return Download(request, pieces, _ZIP, _attachment(batch.id, "crops.zip"))


@router.head("/{batchId}/report", include_in_schema=False)
@router.get(
    "/{batchId}/report", response_class=StreamingResponse, responses=_binary(_HTML), summary="Page"
)
def report(batch: Batch, request: Request) -> Response:
    """A batch's report.html."""
    none = f"Batch {batch.id} has no report yet; it is written at its end."
    return report_of(request, output_of(batch), _REPORT, none)


def report_of(request: Request, output: Output, name: str, none: str) -> Download:
    """A page that a run has written.

    Args:
        request: that asks for it.
        output: what it lies in.
        name: of it there.
        none: what is to be said where there is none.

    Raises:
        ProblemError: there is none.
    """
    size = output.size(name)
    if size is None:
        raise ProblemError(404, none)
    # names in it come from archives: should one ever be taken for markup, it stays locked in
    locked = {"Content-Security-Policy": "sandbox allow-scripts"}
    headers = {"Content-Length": str(size), **locked}
    return Download(request, output.pieces(name), _HTML, headers)


def output_of(batch: FlowRun) -> Output:
    """Where a batch writes."""
    return Output(batch.parameters["output"])


def _finished(batch: FlowRun) -> tuple[Output, int]:
    """The output, and the bytes of its manifest.

    Raises:
        ProblemError: there is none.
    """
    output = output_of(batch)
    size = output.size(MANIFEST)
    if size is None:
        raise ProblemError(409, f"Batch {batch.id} is not finished; its status says how far it is.")
    return output, size


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

"""Routes by which an archive is previewed: some of its members cropped, all of it estimated."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any
from uuid import UUID, uuid4

import httpx
from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from intake.control import previews
from intake.control.batches import BatchError, UnknownBatchError
from intake.control.store import PREVIEWS
from intake.http.bodies import TERMS_VALUES
from intake.http.ceilings import hold
from intake.http.dependencies import Caller, Root, ServiceOf
from intake.http.previewed import AskPreview, PreviewLinks, PreviewStatus
from intake.http.problems import ProblemError
from intake.http.routes.downloads import report_of
from intake.http.submissions import open_checked, read_sent
from intake.http.transfers import TERMS_BYTES
from intake.http.waiting import TELL_SECONDS, Waiting
from pipeline.preview.run import PAGE
from storage.errors import StorageError, TransientError
from storage.output.output import Output

router = APIRouter(prefix="/api/preview", tags=["preview"])

_SCHEMA = {"$ref": f"#/components/schemas/{AskPreview.__name__}"}
_BODY: dict[str, Any] = {
    "requestBody": {"required": True, "content": {"application/json": {"schema": _SCHEMA}}}
}
_HTML: dict[int | str, dict[str, object]] = {200: {"content": {"text/html": {}}}}

PreviewId = Annotated[UUID, Path(alias="previewId", description="As it was handed out.")]


@router.post("", status_code=201, openapi_extra=_BODY, summary="Preview")
async def begin(
    request: Request,
    response: Response,
    service: ServiceOf,
    who: Caller,
    root: Root,
    waiting: Waiting,
) -> PreviewStatus:
    """Crop some members of an archive in storage, and estimate what all of it would come to.

    Nothing of the rest is read but its index. The report is a page; `wait` has the answer come with
    what it says.
    """
    given = await read_sent(request, service, AskPreview, TERMS_BYTES, TERMS_VALUES)
    held = service.prefixes_of(who).hold(hold(given.settings, service.settings))

    def start() -> UUID:
        archive = service.prefixes_of(who).check(given.archive)
        open_checked(service, who, archive, held)
        report = f"{service.settings.store}/{PREVIEWS}/{uuid4().hex}"
        try:
            return previews.submit(
                service.client,
                service.settings.deployment,
                archive,
                report,
                held,
                given.asked,
                priority=given.priority,
                project=given.project_id,
                owner=service.owner(who),
            ).id
        except UnknownBatchError as error:
            raise ProblemError(503, str(error)) from error

    preview = await service.threads.plan(start)
    links = PreviewLinks.of(preview, root)
    response.headers["Location"] = links.status
    queued = PreviewStatus(preview_id=preview, state="queued", links=links)
    if not await waiting.has_waited(preview):
        return queued
    try:
        async with asyncio.timeout(TELL_SECONDS):
            seen = await run_in_threadpool(previews.see, service.client, preview, who.confined_to)
    except (TimeoutError, BatchError, StorageError, TransientError, httpx.HTTPError):
        return queued
    return PreviewStatus.of(seen, root)


@router.get("/{previewId}", summary="What it says")
def status(preview: PreviewId, service: ServiceOf, who: Caller, root: Root) -> PreviewStatus:
    """How far a preview is, and of a completed one what it says."""
    return PreviewStatus.of(previews.see(service.client, preview, who.confined_to), root)


@router.head("/{previewId}/report", include_in_schema=False)
@router.get(
    "/{previewId}/report", response_class=StreamingResponse, responses=_HTML, summary="Page"
)
def report(preview: PreviewId, request: Request, service: ServiceOf, who: Caller) -> Response:
    """A preview's report."""
    seen = previews.see(service.client, preview, who.confined_to)
    none = f"Preview {preview} has no report yet; it is written at its end."
    return report_of(request, Output(seen.report), PAGE, none)

"""Routes by which a batch is handed in: an upload, a list of images, an archive in storage."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any
from uuid import uuid4

import httpx
from fastapi import APIRouter, Depends, Header, Request, Response
from prefect.client.schemas.objects import FlowRun
from starlette.concurrency import run_in_threadpool

from intake import batches
from intake.bodies import AddImages, FromUri, Links, Queued, Terms, read_body, read_terms
from intake.multipart import FORM
from intake.problems import ProblemError
from intake.receiving import UNNAMED, is_form, read_json, receive_form, stream_body
from intake.serving import Caller, Service, ServiceOf
from intake.uploads import Upload, file_name
from storage.archive import open_archive
from storage.errors import StorageError, TransientError
from storage.members import Archive, Limits
from tasks.settings import MIB, CropSettings

router = APIRouter(prefix="/api/batch", tags=["hand in"])

_LIST = "images.txt"
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        max_length=255,
        description="The same key gives the same batch, however often it is sent: once the first "
        "request has succeeded, others answer 200 with its body and take nothing in.",
    ),
]


def _ref(model: type) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{model.__name__}"}


def _form(files: dict[str, Any]) -> dict[str, Any]:
    """The schema of a form: files, and the terms."""
    terms = Terms.model_json_schema(ref_template="#/components/schemas/{model}")["properties"]
    as_text = {"type": "string", "description": "The settings as JSON.", "examples": ["{}"]}
    return {"type": "object", "properties": {**files, **terms, "settings": as_text}}


def _query(name: str, description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": description, "schema": schema}


_FILE = {"type": "string", "contentMediaType": "application/octet-stream"}
_RAW = {"schema": {"type": "string", "format": "binary"}}
_UPLOAD: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            FORM: {"schema": {**_form({"file": _FILE}), "required": ["file"]}},
            **{
                f"application/{kind}": _RAW
                for kind in ("zip", "x-tar", "gzip", "zstd", "octet-stream")
            },
        },
    },
    "parameters": [
        _query("filename", "Name of the archive, for a raw body.", {"type": "string"}),
        _query("projectId", "Whom the batch is for.", {"type": "string", "maxLength": 100}),
        _query("priority", "1 goes first.", {"type": "integer", "minimum": 1, "maximum": 10}),
        _query("settings", "The settings as JSON.", {"type": "string"}),
    ],
}
_IMAGES: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": _ref(AddImages)},
            FORM: {
                "schema": {
                    **_form({"files": {"type": "array", "items": _FILE}}),
                    "required": ["files"],
                }
            },
        },
    }
}
_AGAIN: dict[int | str, dict[str, Any]] = {
    200: {"model": Queued, "description": "The key was sent before: this is its batch."}
}
_URI: dict[str, Any] = {
    "requestBody": {"required": True, "content": {"application/json": {"schema": _ref(FromUri)}}}
}


class _Sent:
    """A request that hands a batch in, once it is known who sends it."""

    def __init__(
        self,
        request: Request,
        response: Response,
        service: ServiceOf,
        who: Caller,
        idempotency_key: IdempotencyKey = None,
    ) -> None:
        self.request = request
        self.service = service
        self._response = response
        self._repeatable = idempotency_key is not None
        self._key = _key(who, idempotency_key)

    async def before(self) -> Queued | None:
        """The batch that this was sent for before; None if there is none."""
        if not self._repeatable:
            return None
        run = await run_in_threadpool(batches.find_by_key, self.service.client, self._key)
        if run is None:
            return None
        return self._queued(run, await run_in_threadpool(_members, run), new=False)

    @asynccontextmanager
    async def upload(self) -> AsyncIterator[Upload]:
        """A place for what it brings along."""
        settings, metrics = self.service.settings, self.service.metrics
        with self.service.slots.one(), metrics.uploads.track_inprogress():
            async with Upload(settings.store, settings.max_upload_bytes) as upload:
                yield upload

    def body(self) -> AsyncIterator[bytes]:
        """Its body as it comes."""
        return stream_body(self.request, self.service, self.service.settings.max_upload_bytes)

    async def hand_in(self, archive: str, terms: Terms, upload: Upload | None) -> Queued:
        """Starts its batch."""
        found = await run_in_threadpool(_submit, self.service, archive, terms, self._key, upload)
        run, images, new = found
        return self._queued(run, images, new=new)

    def _queued(self, run: FlowRun, images: int | None, *, new: bool) -> Queued:
        links = Links.of(run.id, self.request.scope.get("root_path", ""))
        self._response.status_code = 201 if new else 200
        self._response.headers["Location"] = links.status
        return Queued(batch_id=run.id, image_count=images, links=links)


Sent = Annotated[_Sent, Depends()]


@router.post(
    "/upload-zip",
    status_code=201,
    response_model=Queued,
    responses=_AGAIN,
    openapi_extra=_UPLOAD,
    summary="Upload",
)
async def upload_zip(sent: Sent) -> Queued:
    """Takes an archive in: ZIP, TAR, TAR.GZ, TAR.ZST, or a .txt list of image URIs.

    As multipart/form-data with the file in `file`, or as the raw body with the rest in the query.
    It answers once the archive's index has been read and its batch waits to be begun.
    """
    if before := await sent.before():
        return before
    query = dict(sent.request.query_params)
    name = file_name(query.pop("filename", UNNAMED))
    terms = read_terms(query)  # before anything is taken in
    async with sent.upload() as upload:
        if is_form(sent.request):
            form = await receive_form(sent.request, sent.body(), upload, "file", 1)
            terms = read_terms({**query, **form.fields})
            (name,) = form.files
        else:
            await upload.begin(name)
            async for piece in sent.body():
                await upload.write(piece)
            await upload.end()
        return await sent.hand_in(f"{upload.uri}/{name}", terms, upload)


@router.post(
    "/add-images",
    status_code=201,
    response_model=Queued,
    responses=_AGAIN,
    openapi_extra=_IMAGES,
    summary="Images",
)
async def add_images(sent: Sent) -> Queued:
    """Takes images as one batch: their URIs as JSON, or the files as multipart/form-data."""
    if before := await sent.before():
        return before
    most = sent.service.settings.max_images
    async with sent.upload() as upload:
        if is_form(sent.request):
            form = await receive_form(sent.request, sent.body(), upload, "files", most)
            return await sent.hand_in(f"{upload.uri}/", read_terms(form.fields), upload)
        given = read_body(AddImages, await read_json(sent.request, sent.service))
        if len(given.images) > most:
            raise ProblemError(413, f"images: at most {most} in one request.")
        lines = await run_in_threadpool(_checked, sent.service, given.images)
        await upload.begin(_LIST)
        await upload.write("\n".join(lines).encode())
        await upload.end()
        return await sent.hand_in(f"{upload.uri}/{_LIST}", given, upload)


@router.post(
    "/from-uri",
    status_code=201,
    response_model=Queued,
    responses=_AGAIN,
    openapi_extra=_URI,
    summary="Archive",
)
async def from_uri(sent: Sent) -> Queued:
    """Takes an archive that is in storage already, under a prefix that the service may read."""
    if before := await sent.before():
        return before
    given = read_body(FromUri, await read_json(sent.request, sent.service))
    archive = await run_in_threadpool(sent.service.prefixes.check, given.archive)
    return await sent.hand_in(archive, given, None)


def _submit(
    service: Service, archive: str, terms: Terms, key: str, upload: Upload | None
) -> tuple[FlowRun, int | None, bool]:
    """Gives the batch, its members, and whether it is new; keeps the upload if it is."""
    try:
        opened = _open(archive, terms.settings)
        images = opened.members
    except StorageError as error:
        where = f"{upload.uri}/" if upload else ""  # no client's business
        raise ProblemError(422, str(error).replace(where, "")) from error
    if opened.kind == "list":
        service.prefixes.check_list(opened)
    name = upload.id if upload else uuid4().hex
    output = f"{service.settings.store}/batches/{name}"
    if upload:
        upload.keep()
    try:
        run = batches.submit(
            service.client,
            service.settings.deployment,
            archive,
            output,
            terms.settings,
            priority=terms.priority,
            project=terms.project_id,
            key=key,
        )
    except Exception as error:
        # where no answer came, the batch may be there
        unsure = isinstance(error, httpx.TransportError) and not isinstance(error, _NEVER_SENT)
        if upload and not unsure:
            upload.remove()
        if isinstance(error, batches.UnknownBatchError):
            raise ProblemError(503, str(error)) from error
        raise
    if run.parameters["output"] == output:
        return run, images, True
    if upload:  # the same key was at work elsewhere, and was first
        upload.remove()
    return run, _members(run), False


def _open(archive: str, settings: CropSettings) -> Archive:
    return open_archive(archive, Limits(settings.limits.max_member_mib * MIB))


def _members(run: FlowRun) -> int | None:
    """Members of the archive of a batch that was handed in before; None if they are unknown."""
    settings = CropSettings.model_validate(run.parameters["settings"])
    try:
        return _open(run.parameters["archive"], settings).members
    except (StorageError, TransientError):
        return None


def _key(who: str, given: str | None) -> str:
    """What Prefect knows a request by: the client's key, of this client alone, or a new one."""
    if given is None:
        return f"http-{uuid4().hex}"
    digest = hashlib.blake2b(f"{who}\n{given}".encode(), digest_size=16)
    return f"http-{digest.hexdigest()}"


def _checked(service: Service, images: list[str]) -> list[str]:
    return [service.prefixes.check(uri) for uri in images]

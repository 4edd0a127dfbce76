"""Routes by which a batch is handed in: an upload, a list of images, an archive in storage."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Annotated, Any
from uuid import uuid4

import httpx
from fastapi import APIRouter, Header, Request, Response
from prefect.client.schemas.objects import FlowRun
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from intake import batches
from intake.bodies import AddImages, FromUri, Links, Queued, Terms, read_body, read_terms
from intake.multipart import FORM, Part, read_multipart
from intake.problems import ProblemError
from intake.serving import Caller, Service, ServiceOf
from intake.uploads import Upload, file_name
from storage.archive import open_archive
from storage.errors import StorageError, TransientError
from storage.members import Archive, Limits
from storage.names import fold
from tasks.settings import MIB, CropSettings

router = APIRouter(prefix="/api/batch", tags=["hand in"])

_JSON_BYTES = 32 * MIB
_FIELD_BYTES = MIB
_LIST = "images.txt"
_UNNAMED = "archive"
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)

IdempotencyKey = Annotated[
    str | None,
    Header(
        max_length=255,
        description="The same key gives the same batch, however often it is sent: once the first "
        "request has succeeded, others answer 200 with its body and take nothing in.",
    ),
]


@dataclass(slots=True)
class _Form:
    fields: dict[str, str] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)


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
_URI: dict[str, Any] = {
    "requestBody": {"required": True, "content": {"application/json": {"schema": _ref(FromUri)}}}
}


@router.post(
    "/upload-zip", status_code=201, response_model=Queued, openapi_extra=_UPLOAD, summary="Upload"
)
async def upload_zip(
    request: Request,
    response: Response,
    service: ServiceOf,
    who: Caller,
    idempotency_key: IdempotencyKey = None,
) -> Queued:
    """Takes an archive in: ZIP, TAR, TAR.GZ, TAR.ZST, or a .txt list of image URIs.

    As multipart/form-data with the file in `file`, or as the raw body with the rest in the query.
    It answers once the archive's index has been read and its batch waits to be begun.
    """
    key = _key(who, idempotency_key)
    if repeated := await _repeated(service, request, key):
        response.status_code = 200
        return repeated
    with service.slots.one(), service.metrics.uploads.track_inprogress():
        async with Upload(service.settings.store, service.settings.max_upload_bytes) as upload:
            body = _body(request, service, service.settings.max_upload_bytes)
            query = dict(request.query_params)
            name = query.pop("filename", _UNNAMED)
            terms = read_terms(query)  # before anything is taken in
            if _is_form(request):
                form = await _receive_form(request, body, upload, "file", 1)
                terms = read_terms({**query, **form.fields})
                (name,) = form.files
            else:
                name = file_name(name)
                await upload.begin(name)
                async for piece in body:
                    await upload.write(piece)
                await upload.end()
            return await _hand_in(
                service, request, response, f"{upload.uri}/{name}", terms, key, upload
            )


@router.post(
    "/add-images", status_code=201, response_model=Queued, openapi_extra=_IMAGES, summary="Images"
)
async def add_images(
    request: Request,
    response: Response,
    service: ServiceOf,
    who: Caller,
    idempotency_key: IdempotencyKey = None,
) -> Queued:
    """Takes images as one batch: their URIs as JSON, or the files as multipart/form-data."""
    key = _key(who, idempotency_key)
    if repeated := await _repeated(service, request, key):
        response.status_code = 200
        return repeated
    most = service.settings.max_images
    with service.slots.one(), service.metrics.uploads.track_inprogress():
        async with Upload(service.settings.store, service.settings.max_upload_bytes) as upload:
            if _is_form(request):
                body = _body(request, service, service.settings.max_upload_bytes)
                form = await _receive_form(request, body, upload, "files", most)
                terms, archive = read_terms(form.fields), f"{upload.uri}/"
            else:
                given = read_body(AddImages, await _json(request, service))
                if len(given.images) > most:
                    raise ProblemError(413, f"images: at most {most} in one request.")
                lines = await run_in_threadpool(_checked, service, given.images)
                await upload.begin(_LIST)
                await upload.write("\n".join(lines).encode())
                await upload.end()
                terms, archive = given, f"{upload.uri}/{_LIST}"
            return await _hand_in(service, request, response, archive, terms, key, upload)


@router.post(
    "/from-uri", status_code=201, response_model=Queued, openapi_extra=_URI, summary="Archive"
)
async def from_uri(
    request: Request,
    response: Response,
    service: ServiceOf,
    who: Caller,
    idempotency_key: IdempotencyKey = None,
) -> Queued:
    """Takes an archive that is in storage already, under a prefix that the service may read."""
    key = _key(who, idempotency_key)
    if repeated := await _repeated(service, request, key):
        response.status_code = 200
        return repeated
    given = read_body(FromUri, await _json(request, service))
    archive = await run_in_threadpool(service.prefixes.check, given.archive)
    return await _hand_in(service, request, response, archive, given, key, None)


async def _hand_in(
    service: Service,
    request: Request,
    response: Response,
    archive: str,
    terms: Terms,
    key: str,
    upload: Upload | None,
) -> Queued:
    run, images, new = await run_in_threadpool(_submit, service, archive, terms, key, upload)
    queued = _queued(request, run, images)
    response.status_code = 201 if new else 200
    response.headers["Location"] = queued.links.status
    return queued


def _submit(
    service: Service, archive: str, terms: Terms, key: str, upload: Upload | None
) -> tuple[FlowRun, int | None, bool]:
    """Gives the batch, its members, and whether it is new; keeps the upload if it is."""
    opened = _open(archive, terms.settings)
    if opened.kind == "list":
        service.prefixes.check_list(opened)
    images = opened.members
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


def _queued(request: Request, run: FlowRun, images: int | None) -> Queued:
    links = Links.of(run.id, request.scope.get("root_path", ""))
    return Queued(batch_id=run.id, image_count=images, links=links)


async def _repeated(service: Service, request: Request, key: str) -> Queued | None:
    if "idempotency-key" not in request.headers:
        return None
    run = await run_in_threadpool(batches.find_by_key, service.client, key)
    if run is None:
        return None
    return _queued(request, run, await run_in_threadpool(_members, run))


def _key(who: str, given: str | None) -> str:
    """What Prefect knows a request by: the client's key, of this client alone, or a new one."""
    if given is None:
        return f"http-{uuid4().hex}"
    digest = hashlib.blake2b(f"{who}\n{given}".encode(), digest_size=16)
    return f"http-{digest.hexdigest()}"


def _checked(service: Service, images: list[str]) -> list[str]:
    return [service.prefixes.check(uri) for uri in images]


def _is_form(request: Request) -> bool:
    return request.headers.get("content-type", "").lower().startswith(FORM)


async def _receive_form(
    request: Request, body: AsyncIterator[bytes], upload: Upload, file_field: str, most: int
) -> _Form:
    """Takes a form in: its files into storage, its other fields into memory.

    Raises:
        ProblemError: it has no file, or too many, or a field is too long.
    """
    form, taken = _Form(), set[str]()
    at: str | None = None  # the field whose text is coming
    text = bytearray()
    async for event in read_multipart(request.headers["content-type"], body):
        if isinstance(event, Part):
            at = event.name if event.filename is None and event.name != file_field else None
            if at is None:
                await upload.begin(_name(event, form, taken, file_field, most))
        elif at is None:
            await (upload.end() if event is None else upload.write(event))
        elif event is None:
            form.fields[at] = text.decode("utf-8", "replace")
            text.clear()
        else:
            text += event
            if len(text) > _FIELD_BYTES:
                raise ProblemError(413, f"{at}: a field has at most {_FIELD_BYTES} bytes.")
    if not form.files:
        raise ProblemError(422, f"{file_field}: the form has no such field with a file in it.")
    return form


def _name(part: Part, form: _Form, taken: set[str], file_field: str, most: int) -> str:
    """Adds a file to a form, under a name that no other file of it has."""
    if part.name != file_field:
        raise ProblemError(422, f"{part.name}: files go into the field {file_field}.")
    index, called = len(form.files), part.filename or _UNNAMED
    if index == most:
        raise ProblemError(413, f"{file_field}: at most {most} in one request.")
    name = file_name(called, index)
    if fold(name) in taken:
        name = file_name(called, index, duplicate=True)
    taken.add(fold(name))
    form.files.append(name)
    return name


async def _json(request: Request, service: Service) -> bytes:
    data = bytearray()
    async for piece in _body(request, service, _JSON_BYTES):
        data += piece
    return bytes(data)


async def _body(request: Request, service: Service, most: int) -> AsyncIterator[bytes]:
    """The body as it comes.

    Raises:
        ProblemError: it is too large, nothing of it comes any more, or the client has gone.
    """
    too_large = ProblemError(413, f"The body has more than {most} bytes, the most that is taken.")
    if int(request.headers.get("content-length", 0)) > most:
        raise too_large
    stream, received = request.stream(), 0
    while True:
        try:
            async with asyncio.timeout(service.settings.stall_seconds):
                piece = await anext(stream)
        except StopAsyncIteration:
            return
        except TimeoutError as error:
            raise ProblemError(408, "Nothing of the body came for too long.") from error
        except ClientDisconnect as error:
            raise ProblemError(400, "The client went away before the body was complete.") from error
        received += len(piece)
        if received > most:
            raise too_large
        service.metrics.upload_bytes.inc(len(piece))
        yield piece

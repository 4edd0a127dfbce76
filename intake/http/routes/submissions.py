"""Routes by which a batch is handed in: an upload, a list of images, an archive in storage."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request

from intake.http.bodies import (
    TERMS_VALUES,
    AddImages,
    FromUri,
    Queued,
    Terms,
    Waited,
    read_terms,
)
from intake.http.ceilings import hold
from intake.http.multipart import FORM
from intake.http.problems import ProblemError
from intake.http.submissions import SentBatch, sent_batch
from intake.http.transfers import TERMS_BYTES, UNNAMED, is_form, list_bytes
from intake.http.uploads import Upload, file_name
from intake.http.waiting import Waiting

router = APIRouter(prefix="/api/batch", tags=["hand in"])

_LIST = "images.txt"


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
    200: {"model": Waited | Queued, "description": "The key was sent before: this is its batch."}
}
_URI: dict[str, Any] = {
    "requestBody": {"required": True, "content": {"application/json": {"schema": _ref(FromUri)}}}
}


Sent = Annotated[SentBatch, Depends(sent_batch)]


@router.post(
    "/upload-zip",
    status_code=201,
    response_model=Waited | Queued,
    responses=_AGAIN,
    openapi_extra=_UPLOAD,
    summary="Upload",
)
async def upload_zip(sent: Sent, waiting: Waiting) -> Queued:
    """Take an archive in: ZIP, TAR (plain or compressed), or a .txt list of image URIs.

    As multipart/form-data with the file in `file`, or as the raw body with the rest in the query.
    It answers once the archive's index has been read and its batch waits to be begun.
    """
    query = _query_of(sent.request)
    query.pop("wait", None)
    name = file_name(query.pop("filename", UNNAMED))
    terms = read_terms(query)  # before anything is taken in
    hold(terms.settings, sent.service.settings)
    async with sent.upload() as upload:
        if is_form(sent.request):
            form = await sent.form(upload, "file", 1)
            terms = read_terms({**query, **form.fields})
            (name,) = form.files
        else:
            await upload.begin(name)
            async for piece in sent.body():
                await upload.write(piece)
            await upload.end()
        queued = await sent.hand_in(f"{upload.uri}/{name}", terms, upload.digest(), upload)
    return await waiting.answer(queued)


@router.post(
    "/add-images",
    status_code=201,
    response_model=Waited | Queued,
    responses=_AGAIN,
    openapi_extra=_IMAGES,
    summary="Images",
)
async def add_images(sent: Sent, waiting: Waiting) -> Queued:
    """Take images as one batch: their URIs as JSON, or the files as multipart/form-data."""
    async with sent.upload() as upload:
        take = _take_files if is_form(sent.request) else _take_list
        queued = await take(sent, upload)
    return await waiting.answer(queued)  # without the place that uploads have


async def _take_files(sent: SentBatch, upload: Upload) -> Queued:
    form = await sent.form(upload, "files", sent.service.settings.max_images)
    terms = read_terms(form.fields)
    content = [form.files, upload.digest()]
    return await sent.hand_in(f"{upload.uri}/", terms, content, upload)


async def _take_list(sent: SentBatch, upload: Upload) -> Queued:
    most = sent.service.settings.max_images
    given = await sent.read(AddImages, list_bytes(most), most + TERMS_VALUES)
    if len(given.images) > most:
        raise ProblemError(413, f"images: at most {most} in one request.")
    lines = await sent.service.threads.plan(lambda: "\n".join(sent.check(given.images)))
    await upload.begin(_LIST)
    await upload.write(lines.encode())
    await upload.end()
    return await sent.hand_in(f"{upload.uri}/{_LIST}", given, upload.digest(), upload)


@router.post(
    "/from-uri",
    status_code=201,
    response_model=Waited | Queued,
    responses=_AGAIN,
    openapi_extra=_URI,
    summary="Archive",
)
async def from_uri(sent: Sent, waiting: Waiting) -> Queued:
    """Take an archive that is in storage already, under a prefix that the service may read."""
    given = await sent.read(FromUri, TERMS_BYTES, TERMS_VALUES)
    (archive,) = await sent.service.threads.plan(lambda: sent.check([given.archive]))
    queued = await sent.hand_in(archive, given, archive, None)
    return await waiting.answer(queued)


def _query_of(request: Request) -> dict[str, str]:
    given = request.query_params.multi_items()
    found = dict(given)
    if len(found) < len(given):
        raise ProblemError(422, "The query has a field twice.")
    return found

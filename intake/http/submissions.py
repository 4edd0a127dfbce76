"""A request that hands a batch in: whose it is, and whether it was sent before."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Annotated
from uuid import uuid4

import httpx
from fastapi import Header, Request, Response
from prefect.client.schemas.objects import FlowRun
from starlette.concurrency import run_in_threadpool

from intake.control import batches
from intake.control.store import BATCHES
from intake.http.bodies import Body, Links, Queued, Terms, read_body
from intake.http.ceilings import hold
from intake.http.dependencies import Caller, Service, ServiceOf
from intake.http.keys import Client
from intake.http.problems import ProblemError
from intake.http.transfers import Form, receive_form, stream_body
from intake.http.uploads import Upload
from pipeline.settings import MIB, CropSettings
from storage.archives.members import Archive, Limits
from storage.archives.opening import open_archive
from storage.errors import StorageError, TransientError
from storage.mark import mark

_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
_MOST_KEY = 255  # characters
_REQUEST_LABEL = "facecrop.request"

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        json_schema_extra={"minLength": 1, "maxLength": _MOST_KEY},
        description="The same key with the same request gives the same batch, however often it is "
        "sent: once the first has succeeded, others answer 200 with its body and keep nothing. "
        "With another request it is a 422.",
    ),
]


class SentBatch:
    """A request that hands a batch in, once it is known who sends it."""

    def __init__(
        self, request: Request, response: Response, service: Service, who: Client, key: str | None
    ) -> None:
        self.request = request
        self.service = service
        self._response = response
        self._who = who
        self._repeatable = key is not None
        self._key = _key(who.name, key)
        self._before: FlowRun | None = None

    async def look_back(self) -> None:
        """Find the batch that its key was sent for before, if any."""
        if self._repeatable:
            self._before = await run_in_threadpool(
                batches.find_by_key, self.service.client, self._key
            )

    @asynccontextmanager
    async def upload(self) -> AsyncIterator[Upload]:
        """A place for what it brings along; what was sent before is only compared."""
        settings, metrics = self.service.settings, self.service.metrics
        with self.service.slots.one(), metrics.uploads.track_inprogress():
            new = self._before is None
            await run_in_threadpool(mark, settings.store)
            async with Upload(settings.store, settings.max_upload_bytes, stored=new) as upload:
                yield upload

    def body(self) -> AsyncIterator[bytes]:
        """Its body as it comes."""
        return stream_body(self.request, self.service, self.service.settings.max_upload_bytes)

    async def read(self, model: type[Body], most_bytes: int, most_values: int) -> Body:
        """Its body as JSON."""
        return await read_sent(self.request, self.service, model, most_bytes, most_values)

    async def form(self, upload: Upload, file_field: str, most: int) -> Form:
        """Its body as a form with so many files at most, which go into an upload."""
        body = self.body()
        return await receive_form(self.request, self.service, body, upload, file_field, most)

    async def hand_in(
        self, archive: str, terms: Terms, content: object, upload: Upload | None
    ) -> Queued:
        """Start its batch.

        Args:
            archive: path or URI.
            terms: of the batch.
            content: what beside the terms makes another request with its key the same one.
            upload: what the archive is in; None where it was in storage.

        Raises:
            ProblemError: its key was sent with another request before.
        """
        said = terms.model_dump(mode="json", include=set(Terms.model_fields))
        digest = _digest([self.request.url.path, said, content])
        if self._before is not None:
            return await self._queued_before(self._before, digest)
        held = hold(terms.settings, self.service.settings)
        settings = self.service.prefixes_of(self._who).hold(held)
        opened = await self.service.threads.plan(lambda: self._open(archive, settings, upload))
        name = upload.id if upload else uuid4().hex
        output = f"{self.service.settings.store}/{BATCHES}/{name}"

        def submit() -> FlowRun:
            try:
                return batches.submit(
                    self.service.client,
                    self.service.settings.deployment,
                    archive,
                    output,
                    settings,
                    priority=terms.priority,
                    project=terms.project_id,
                    key=self._key,
                    owner=self.service.owner(self._who),
                    labels={_REQUEST_LABEL: digest},
                )
            except batches.UnknownBatchError as error:
                raise ProblemError(503, str(error)) from error

        run = await run_in_threadpool(_kept, upload, output, submit)
        if run.parameters["output"] == output:
            return self._queued(run, opened.members, new=True)
        return await self._queued_before(run, digest)  # it was at work elsewhere, and was first

    def _open(self, archive: str, settings: CropSettings, upload: Upload | None) -> Archive:
        where = f"{upload.uri}/" if upload else ""  # no client's business
        return open_checked(self.service, self._who, archive, settings, where)

    def check(self, uris: Iterable[str]) -> list[str]:
        """URIs as they are to be opened.

        Raises:
            ProblemError: its client may not name one of them.
        """
        return list(map(self.service.prefixes_of(self._who).check, uris))

    async def _queued_before(self, run: FlowRun, digest: str) -> Queued:
        if run.labels.get(_REQUEST_LABEL, digest) != digest:
            raise ProblemError(
                422,
                "This Idempotency-Key was sent before, with another body or other settings; send "
                f"a key of its own with each request. Its batch is {run.id}.",
            )
        images = await self.service.threads.plan(lambda: _members(run))
        return self._queued(run, images, new=False)

    def _queued(self, run: FlowRun, images: int | None, *, new: bool) -> Queued:
        links = Links.of(run.id, self.request.scope.get("root_path", ""))
        self._response.status_code = 201 if new else 200
        self._response.headers["Location"] = links.status
        return Queued(batch_id=run.id, image_count=images, links=links)


async def sent_batch(
    request: Request,
    response: Response,
    service: ServiceOf,
    who: Caller,
    idempotency_key: IdempotencyKey = None,
) -> SentBatch:
    """The batch that a request hands in.

    Raises:
        ProblemError: its Idempotency-Key cannot be.
    """
    given = request.headers.getlist("Idempotency-Key")
    if len(given) > 1:
        raise ProblemError(400, "Idempotency-Key: a request has one at most.")
    for key in given:
        if not key.strip() or len(key) > _MOST_KEY or not (key.isascii() and key.isprintable()):
            raise ProblemError(
                400, f"Idempotency-Key: should be 1 to {_MOST_KEY} printable ASCII characters."
            )
    sent = SentBatch(request, response, service, who, idempotency_key)
    await sent.look_back()
    return sent


async def read_sent(
    request: Request, service: Service, model: type[Body], most_bytes: int, most_values: int
) -> Body:
    """The body of a request as JSON.

    Raises:
        ProblemError: see `read_body`; or it is too long.
    """
    data = bytearray()
    async for piece in stream_body(request, service, most_bytes):
        data += piece
    return await service.threads.parse(lambda: read_body(model, bytes(data), most_values))


def open_checked(
    service: Service, who: Client, archive: str, settings: CropSettings, where: str = ""
) -> Archive:
    """Open an archive that a client names; of a list, each line is one that it may name.

    Args:
        service, who: that the client asks, and who it is.
        archive: as it was checked.
        settings: held to what is allowed.
        where: what is left out of messages.

    Raises:
        ProblemError: it cannot be used, or a line of it may not be named.
    """
    try:
        opened = _open(archive, settings)
    except StorageError as error:
        raise ProblemError(422, str(error).replace(where, "")) from error
    if opened.kind == "list":
        service.prefixes_of(who).check_list(opened)
    return opened


def _kept(upload: Upload | None, output: str, submit: Callable[[], FlowRun]) -> FlowRun:
    """Submit a batch, and keep what it is made of if there is a new one that needs it."""
    if upload is None:
        return submit()
    upload.keep()
    try:
        run = submit()
    except Exception as error:
        # where no answer came, the batch may be there
        if not isinstance(error, httpx.TransportError) or isinstance(error, _NEVER_SENT):
            upload.remove()
        raise
    if run.parameters["output"] != output:
        upload.remove()
    return run


def _open(archive: str, settings: CropSettings) -> Archive:
    bounds = settings.limits.max_member_mib * MIB
    return open_archive(archive, Limits(bounds, redirects=settings.input.redirects))


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


def _digest(request: object) -> str:
    """What two requests have in common if and only if they ask for the same."""
    return hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()

"""A request's body, taken in as it comes and no further than it may go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from fastapi import Request
from starlette.requests import ClientDisconnect

from intake.multipart import FORM, Part, read_multipart
from intake.problems import ProblemError
from intake.serving import Service
from intake.uploads import Upload, file_name
from storage.names import fold
from tasks.settings import MIB

UNNAMED = "archive"  # what a client does not give a name

_JSON_BYTES = 32 * MIB
_FIELD_BYTES = MIB


@dataclass(slots=True)
class Form:
    """A form that was taken in.

    Attributes:
        fields: text, by name.
        files: names under which its files are stored.
    """

    fields: dict[str, str] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)


def is_form(request: Request) -> bool:
    """Whether its body is multipart/form-data."""
    return request.headers.get("content-type", "").lower().startswith(FORM)


async def receive_form(
    request: Request, body: AsyncIterator[bytes], upload: Upload, file_field: str, most: int
) -> Form:
    """Takes a form in: its files into storage, its other fields into memory.

    Raises:
        ProblemError: it has no file, or too many, or a field is too long.
    """
    form, taken = Form(), set[str]()
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


def _name(part: Part, form: Form, taken: set[str], file_field: str, most: int) -> str:
    """Adds a file to a form, under a name that no other file of it has."""
    if part.name != file_field:
        raise ProblemError(422, f"{part.name}: files go into the field {file_field}.")
    index, called = len(form.files), part.filename or UNNAMED
    if index == most:
        raise ProblemError(413, f"{file_field}: at most {most} in one request.")
    name = file_name(called, index)
    if fold(name) in taken:
        name = file_name(called, index, duplicate=True)
    taken.add(fold(name))
    form.files.append(name)
    return name


async def read_json(request: Request, service: Service) -> bytes:
    """The whole of a body that has to fit into memory.

    Raises:
        ProblemError: see `stream_body`.
    """
    data = bytearray()
    async for piece in stream_body(request, service, _JSON_BYTES):
        data += piece
    return bytes(data)


async def stream_body(request: Request, service: Service, most: int) -> AsyncIterator[bytes]:
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

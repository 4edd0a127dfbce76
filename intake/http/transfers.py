"""A request's body, taken in as it comes and no further than it may go."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from fastapi import Request
from starlette.requests import ClientDisconnect

from intake.http.dependencies import Service
from intake.http.multipart import FORM, Part, read_multipart
from intake.http.problems import ProblemError
from intake.http.uploads import Upload, file_name
from pipeline.settings import MIB
from storage.output.names import fold

UNNAMED = "archive"  # what a client does not give a name

TERMS_BYTES = 64 << 10
"""Of a JSON body, or a form's fields together, that say what is to become of an archive."""

_MOST_FIELDS = 16
_LIST_BYTES = 8 * MIB
_URI_BYTES = 4096 + len('"",')
_LEAST = 64 << 10  # bytes that have to come in the time after which a body is given up


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
    request: Request,
    service: Service,
    body: AsyncIterator[bytes],
    upload: Upload,
    file_field: str,
    most: int,
) -> Form:
    """Take a form in: its files into storage, its other fields into memory.

    Raises:
        ProblemError: it has no file, or too many, or a field twice, or its fields are too many or
            too long.
    """
    form, taken, text_bytes = Form(), set[str](), 0
    at: str | None = None  # the field whose text is coming
    text = bytearray()
    content_type = request.headers["content-type"]
    async for event in read_multipart(content_type, body, service.threads.parse):
        if isinstance(event, Part):
            at = event.name if event.filename is None and event.name != file_field else None
            if at is None:
                await upload.begin(_name(event, form, taken, file_field, most))
            elif at in form.fields:
                raise ProblemError(422, f"{at}: the form has this field twice.")
            elif len(form.fields) == _MOST_FIELDS:
                raise ProblemError(413, f"A form has at most {_MOST_FIELDS} fields.")
        elif at is None:
            await (upload.end() if event is None else upload.write(event))
        elif event is None:
            form.fields[at] = text.decode("utf-8", "replace")
            text.clear()
        else:
            text += event
            text_bytes += len(event)
            if text_bytes > TERMS_BYTES:
                raise ProblemError(
                    413, f"{at}: the fields of a form have at most {TERMS_BYTES} bytes together."
                )
    if not form.files:
        raise ProblemError(422, f"{file_field}: the form has no such field with a file in it.")
    return form


def _name(part: Part, form: Form, taken: set[str], file_field: str, most: int) -> str:
    """Add a file to a form, under a name that no other file of it has."""
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


def list_bytes(most_images: int) -> int:
    """Most bytes of a JSON body that lists so many images."""
    return min(TERMS_BYTES + most_images * _URI_BYTES, _LIST_BYTES)


async def stream_body(request: Request, service: Service, most: int) -> AsyncIterator[bytes]:
    """The body as it comes.

    Raises:
        ProblemError: it is too large, too little of it comes, or the client has gone.
    """
    too_large = ProblemError(413, f"The body has more than {most} bytes, the most that is taken.")
    if int(request.headers.get("content-length", 0)) > most:
        raise too_large
    stream, received = request.stream(), 0
    patience = service.settings.stall_seconds
    left, reset_at = patience, _LEAST  # a byte now and then is as good as nothing
    while True:
        asked = time.monotonic()
        try:
            async with asyncio.timeout(left):
                piece = await anext(stream)
        except StopAsyncIteration:
            return
        except TimeoutError as error:
            raise ProblemError(408, "Too little of the body came for too long.") from error
        except ClientDisconnect as error:
            raise ProblemError(400, "The client went away before the body was complete.") from error
        left -= time.monotonic() - asked
        received += len(piece)
        if received >= reset_at:
            left, reset_at = patience, received + _LEAST
        if received > most:
            raise too_large
        service.metrics.upload_bytes.inc(len(piece))
        yield piece

"""A multipart/form-data body, read as it comes: nothing of it is kept here or on disk."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

FORM = "multipart/form-data"


class MultipartError(ValueError):
    """The body is not what its headers say; the message is one sentence."""


@dataclass(frozen=True, slots=True)
class Part:
    """Where a field or a file begins.

    Attributes:
        name: of the field.
        filename: as the client calls the file; None for what is none.
    """

    name: str
    filename: str | None


class _Events(list["Part | bytes | None"]):
    """What the parser has found in one piece of the body."""

    def __init__(self) -> None:
        super().__init__()
        self.complete = False
        self._field = self._value = b""
        self._disposition = ""

    def callbacks(self) -> MultipartCallbacks:
        return {
            "on_part_begin": self._begin,
            "on_part_data": lambda data, start, end: self.append(data[start:end]),
            "on_part_end": lambda: self.append(None),
            "on_header_field": self._add_to_field,
            "on_header_value": self._add_to_value,
            "on_header_end": self._header,
            "on_headers_finished": self._head,
            "on_end": self._end,
        }

    def _begin(self) -> None:
        self._disposition = ""

    def _add_to_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _add_to_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header(self) -> None:
        if self._field.lower() == b"content-disposition":
            self._disposition = self._value.decode("latin-1")  # as the parser of options takes it
        self._field = self._value = b""

    def _head(self) -> None:
        _, options = parse_options_header(self._disposition)
        name, filename = (_text(options.get(key)) for key in (b"name", b"filename"))
        if name is None:
            raise MultipartError("A part of the multipart body has no name.")
        self.append(Part(name, filename))

    def _end(self) -> None:
        self.complete = True


async def read_multipart(
    content_type: str, body: AsyncIterator[bytes]
) -> AsyncIterator[Part | bytes | None]:
    """Yields each part's beginning, its bytes piece by piece, and None at its end.

    Args:
        content_type: the request's header.
        body: as it comes.

    Raises:
        MultipartError: the body is no multipart/form-data, or ends before it is complete.
    """
    _, options = parse_options_header(content_type)
    boundary = options.get(b"boundary")
    if not boundary:
        raise MultipartError("The Content-Type header has no boundary; leave it to your client.")
    events = _Events()
    try:
        parser = MultipartParser(boundary, events.callbacks())
        async for piece in body:
            parser.write(piece)
            for event in events:
                yield event
            events.clear()
        parser.finalize()
    except FormParserError as error:
        raise MultipartError(f"The body is no {FORM}: {error}.") from error
    if not events.complete:
        raise MultipartError(f"The {FORM} body ends before its last boundary.")


def _text(option: bytes | None) -> str | None:
    return None if option is None else option.decode("utf-8", "replace")

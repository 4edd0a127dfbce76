"""A multipart/form-data body, read as it comes: nothing of it is kept here or on disk.

It is parsed in a thread: made of tiny parts, one piece of it takes a while.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from intake.http.problems import ProblemError

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

FORM = "multipart/form-data"
_MOST_HEADERS = 8  # of a part
_HEADER_BYTES = 4096  # of each of them


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
            raise ProblemError(400, "A part of the multipart body has no name.")
        self.append(Part(name, filename))

    def _end(self) -> None:
        self.complete = True


async def read_multipart(
    content_type: str,
    body: AsyncIterator[bytes],
    parse: Callable[[Callable[[], object]], Awaitable[object]],
) -> AsyncIterator[Part | bytes | None]:
    """Yield each part's beginning, its bytes piece by piece, and None at its end.

    Args:
        content_type: the request's header.
        body: as it comes.
        parse: runs what it is given in a thread.

    Raises:
        ProblemError: the body is no multipart/form-data, or ends before it is complete.
    """
    _, options = parse_options_header(content_type)
    boundary = options.get(b"boundary")
    if not boundary:
        raise ProblemError(400, "The Content-Type header has no boundary; leave it to your client.")
    events = _Events()
    try:
        parser = MultipartParser(
            boundary,
            events.callbacks(),
            max_header_count=_MOST_HEADERS,
            max_header_size=_HEADER_BYTES,
        )
        async for piece in body:
            await parse(partial(parser.write, piece))
            for event in events:
                yield event
            events.clear()
        parser.finalize()
    except FormParserError as error:
        raise ProblemError(400, f"The body is no {FORM}: {error}.") from error
    if not events.complete:
        raise ProblemError(400, f"The {FORM} body ends before its last boundary.")


def _text(option: bytes | None) -> str | None:
    return None if option is None else option.decode("utf-8", "replace")

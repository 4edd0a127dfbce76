"""Whether what a command prints is what a document shows, but for what differs from run to run."""

from __future__ import annotations

import re
from collections.abc import Mapping

from tests.docs.commands import SampleError

_MASKS = (
    (r"\x1b\[[0-9;?]*[A-Za-z]", ""),
    (r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", "ID"),
    (r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?(\.\d+)?(\+\d\d:\d\d|Z)?", "TIME"),
    (r"\b(?=[0-9a-f]*\d)[0-9a-f]{12,}\b", "HEX"),
    (r"\d+(?:[,.]\d+)* (h|min|s|ms)\b( \d+ (min|s)\b)*", "SPAN"),
    (r"\d+(?:[,.]\d+)* ([KMGT]i?B|B)\b", "SIZE"),
    (r"\d+(?:[,.]\d+)*", "#"),
    (r"[ \t]+", " "),
)
# of a batch that goes on: how many there are depends on how fast it is
_PROGRESS = re.compile(r".*: (#/#|(queued|running|starting): #) image .*")
_PLURALS = re.compile(r"\b(member|image|face|photograph|crop|file|run|place|row|day)s\b")


def shape(text: str) -> str:
    """A text without figures, times, ids and the widths of columns."""
    for pattern, instead in _MASKS:
        text = re.sub(pattern, instead, text)
    text = _PLURALS.sub(r"\1", text)
    lines = (line.strip() for line in text.splitlines())
    return "".join(f"{line}\n" for line in lines if line and not _PROGRESS.fullmatch(line))


def compare(place: str, expected: str, printed: str, said: Mapping[str, str]) -> None:
    """Compare what a document shows with what was printed, `…` standing for whatever is there.

    Args:
        place: of the command, for the message.
        said: what stands in documents, and what it is here.

    Raises:
        SampleError: they differ.
    """
    for shown, real in said.items():
        printed = printed.replace(real, shown)
    lines = (
        r"(.*\n)*" if line == "…" else f"{re.escape(line).replace('…', '.*')}\n"
        for line in shape(expected).splitlines()
    )
    if not re.fullmatch("".join(lines), shape(printed)):
        raise SampleError(f"{place}\nsays:\n{expected}\nprints:\n{printed}\n{shape(printed)}")

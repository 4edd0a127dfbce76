"""The samples of the documents: every fenced block, and what is said in front of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

REASONS = {
    "container": "needs a container engine",
    "cluster": "needs a Kubernetes cluster",
    "windows": "is for Windows",
    "macos": "is for macOS",
    "machine": "changes this machine, or runs all tests",
    "outside": "calls on a program or a service that the tests do not have",
}
"""Why a sample is not run here: `<!-- sample: REASON, and what else there is to say -->`."""

OUTPUT = "output"
"""In place of a reason: it is run, and what it prints is not compared, for what is said behind."""

_FENCE = re.compile(r"^(?P<indent> *)(?P<ticks>```+)(?P<language>[^`]*)$")
_MARK = re.compile(r"^ *<!-- sample: (?P<word>[a-z]+)(?:, (?P<remark>.+?))? -->$")
_CODE = re.compile(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)", re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One fenced block.

    Attributes:
        page: its file, from the root of the project.
        line: of its fence, from 1.
        language: behind the fence; "" where nothing is.
        text: of the block, without the indentation of its fence.
        mark: the word of the comment in front of it, "" where there is none.
        remark: what else the comment says.
    """

    page: str
    line: int
    language: str
    text: str
    mark: str = ""
    remark: str = ""

    @property
    def place(self) -> str:
        """Where it is, for messages."""
        return f"{self.page}:{self.line}"

    @property
    def left(self) -> bool:
        """Whether it is not run here."""
        return self.mark in REASONS


def blocks_of(page: str, text: str) -> Iterator[Block]:
    """The fenced blocks of a page.

    Raises:
        ValueError: a fence is not closed, or a comment in front of none.
    """
    lines = text.split("\n")
    marked: tuple[int, re.Match[str]] | None = None
    at = 0
    while at < len(lines):
        if mark := _MARK.match(lines[at]):
            marked = at, mark
        elif fence := _FENCE.match(lines[at]):
            end = _end(lines, at, fence)
            if end is None:
                raise ValueError(f"{page}:{at + 1}: this block has no end")
            width = len(fence["indent"])
            yield Block(
                page,
                at + 1,
                fence["language"].strip(),
                "".join(f"{line[width:]}\n" for line in lines[at + 1 : end]),
                *((marked[1]["word"], marked[1]["remark"] or "") if marked else ()),
            )
            at, marked = end, None
        elif lines[at].strip() and marked:
            raise ValueError(f"{page}:{marked[0] + 1}: a mark stands right in front of its block")
        elif lines[at].lstrip().startswith("<!-- sample"):
            raise ValueError(f"{page}:{at + 1}: this mark cannot be read")
        at += 1


def inline_code(text: str) -> list[str]:
    """What stands in backticks in a page, outside of fenced blocks, on one line each."""
    prose, at, lines = [], 0, text.split("\n")
    while at < len(lines):
        fence = _FENCE.match(lines[at])
        end = _end(lines, at, fence) if fence else None
        if end is not None:
            at = end
        else:
            prose.append(lines[at])
        at += 1
    # a span ends where its paragraph, list entry or table cell does
    paragraphs = re.split(r"\n\s*\n|\n(?=\s*(?:[-*|]|\d+\.) )", "\n".join(prose))
    found = [code for one in paragraphs for _, code in _CODE.findall(one)]
    return [" ".join(code.split()) for code in found]


def _end(lines: list[str], start: int, fence: re.Match[str]) -> int | None:
    closing = re.compile(rf"^ *{fence['ticks']}`*\s*$")
    return next((at for at in range(start + 1, len(lines)) if closing.match(lines[at])), None)

"""Commands as a terminal shows them: run in one, and what it came to look like, as HTML."""

from __future__ import annotations

import codecs
import fcntl
import io
import os
import pty
import re
import shlex
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

COLUMNS = 96
_ROWS = 40
_TOKEN = re.compile(r"\x1b\[\??[\d;]*[A-Za-z]|\r|\n|[^\x1b\r\n]+")
_CUT_OFF = re.compile(r"\x1b(\[\??[\d;]*)?$")
_THEME = TerminalTheme(
    (22, 27, 34),
    (230, 237, 243),
    [
        *((72, 79, 88), (255, 123, 114), (86, 211, 100), (227, 179, 65)),
        *((121, 192, 255), (210, 168, 255), (86, 212, 221), (201, 209, 217)),
    ],
)
_STYLE = """
body { margin: 0; background: #fff; } body.dark { background: #161b22; }
main { display: inline-block; padding: 1px; }
pre {
  margin: 0; padding: 14px 18px 18px; border-radius: 8px; background: #161b22; color: #e6edf3;
  font: 14px/1.45 "DejaVu Sans Mono", monospace; width: 98ch; white-space: pre-wrap;
}
pre + pre { margin-top: 10px; }
b.prompt { color: #56d364; }
"""


class Screen:
    """What a terminal shows of what was written to it, as far as Facecrop's commands write.

    They write whole lines, go up to lines that they have written, and clear them. Anything else is
    an error here, as the picture would be wrong.
    """

    def __init__(self) -> None:
        self._rows = [""]
        self._row = 0
        self._at_start = False

    def feed(self, text: str) -> None:
        """Take what is written next.

        Raises:
            ValueError: it moves in a way that is not known here.
        """
        for token in _TOKEN.findall(text):
            if token == "\r":
                self._at_start = True
            elif token == "\n":
                self._row += 1
                self._at_start = False
                self._rows += [""] * (self._row + 1 - len(self._rows))
            elif not token.startswith("\x1b") or token.endswith("m"):
                kept = "" if self._at_start else self._rows[self._row]
                self._rows[self._row] = kept + token
                self._at_start = False
            elif token.endswith("A"):
                self._row = max(0, self._row - int(token[2:-1] or 1))
            elif token.endswith("K"):
                self._rows[self._row] = ""
            elif not token.endswith(("h", "l")):  # the cursor is hidden and shown
                raise ValueError(f"a terminal is told {token!r}")

    def text(self) -> str:
        """Its lines, with their colours as escape sequences."""
        return "\n".join(self._rows).rstrip()


@dataclass(frozen=True, slots=True)
class Recording:
    """A command, and what it wrote, piece by piece."""

    command: str
    pieces: tuple[str, ...]

    def screens(self) -> Iterator[str]:
        """What the terminal showed, after each piece."""
        screen = Screen()
        for piece in self.pieces:
            screen.feed(piece)
            yield screen.text()

    def end(self) -> str:
        """What it shows when the command has ended."""
        return list(self.screens())[-1]

    def first(self, pattern: str) -> str:
        """The first screen that a pattern is found on, its colours aside.

        Raises:
            LookupError: there is none.
        """
        for screen in self.screens():
            if re.search(pattern, Text.from_ansi(screen).plain):
                return screen
        raise LookupError(f"`{self.command}` never shows {pattern!r}, but at last\n{self.end()}")


def record(command: str, folder: Path) -> Recording:
    """Run a command in a terminal of its own, to its end.

    Args:
        command: as it would be typed.
        folder: that it is typed in.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", _ROWS, COLUMNS, 0, 0))
    with subprocess.Popen(
        shlex.split(command),
        cwd=folder,
        env=os.environ | {"TERM": "xterm-256color", "LANG": "C.UTF-8", "PATH": _path()},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    ):
        os.close(theirs)
        return Recording(command, tuple(_pieces(ours)))


def _path() -> str:
    return f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


def _pieces(terminal: int) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8")()
    left = ""  # a sequence that is not whole yet
    while True:
        try:
            read = os.read(terminal, 1 << 16)
        except OSError:  # Linux says so where nobody has the other end any more
            os.close(terminal)
            return
        text = left + decoder.decode(read)
        whole = _CUT_OFF.sub("", text)
        left = text[len(whole) :]
        yield whole


def panel(command: str, screen: str) -> str:
    """A terminal in which a command was typed, as HTML."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), color_system="truecolor")
    console.print(Text.from_ansi(screen), soft_wrap=True)
    shown = console.export_html(theme=_THEME, inline_styles=True, code_format="{code}")
    return f'<pre><b class="prompt">$</b> <b>{escape(command)}</b>\n{shown.rstrip()}</pre>'


def page(*panels: str, ground: str = "light") -> str:
    """Terminals, one below the other, on paper or on a dark screen."""
    body = f'<body class="{ground}"><main>{"".join(panels)}</main>'
    return f"<!doctype html><style>{_STYLE}</style>{body}"

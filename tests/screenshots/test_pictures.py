"""The pictures of docs/screenshots: small, shown, and true to what a terminal shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra import docs
from tests.screenshots.terminal import Screen

FOLDER = Path("docs/screenshots")


def test_pictures_are_small_and_each_is_shown_on_a_page() -> None:
    pictures = {one.relative_to(docs.ROOT): one for one in (docs.ROOT / FOLDER).glob("*.webp")}
    assert pictures
    assert sum(one.stat().st_size for one in pictures.values()) < 2_500_000
    shown = {
        docs.destination(page, link)
        for page in docs.pages()
        for link in docs.links((docs.ROOT / page).read_text())
        if not docs.is_outside(link)
    }
    assert pictures.keys() - shown == set()


def test_a_screen_has_what_a_terminal_would() -> None:
    screen = Screen()
    screen.feed("begun\r\n\x1b[?25l\x1b[1mbar\x1b[0m 10%\n  1 image")
    screen.feed("\r\x1b[2K\x1b[1A\x1b[2Kbar 90%\n  9 images")
    assert screen.text() == "begun\nbar 90%\n  9 images"
    screen.feed("\r\x1b[2K\x1b[1A\x1b[2Kdone\r\n")
    assert screen.text() == "begun\ndone"
    with pytest.raises(ValueError, match="told"):
        screen.feed("\x1b[2J")

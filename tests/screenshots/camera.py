"""Chromium as a camera, and where its pictures go."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Literal

from PIL import Image
from playwright.sync_api import Browser, Locator, Page, sync_playwright

from tests.browser.test_dashboard import CHROMIUM, OFFLINE

_PAGE_MS = 180_000
_DRAWN_MS = 6000  # a run's graph is drawn on a canvas, later than all that can be waited for
_QUALITY = 82

Scheme = Literal["light", "dark"]


@dataclass(frozen=True, slots=True)
class Camera:
    """What takes the pictures.

    Attributes:
        folder: that they are kept in.
    """

    browser: Browser
    folder: Path

    @contextmanager
    def page(
        self, width: int = 1280, height: int = 860, scheme: Scheme = "light", scale: float = 1
    ) -> Iterator[Page]:
        """A page of a size in CSS pixels, with so many pixels of a picture for each."""
        # times of 24 hours, as those with AM lie one over the other in a run's graph
        context = self.browser.new_context(
            viewport={"width": width, "height": height},
            device_scale_factor=scale,
            color_scheme=scheme,
            locale="en-GB",
        )
        context.set_default_timeout(_PAGE_MS)
        yield context.new_page()
        context.close()

    def keep(self, name: str, shown: Page | Locator) -> None:
        """Keep a picture of what is shown."""
        self.save(name, take(shown))

    def save(self, name: str, picture: Image.Image) -> None:
        """Keep a picture that was taken."""
        picture.save(self.folder / f"{name}.webp", "WEBP", quality=_QUALITY, method=6)

    def keep_html(self, name: str, html: str, width: int = 1000) -> None:
        """Keep a picture of a page's `main`, in twice its pixels."""
        with self.page(width, 400, scale=2) as page:
            page.set_content(html)
            self.keep(name, page.locator("main"))


def take(shown: Page | Locator) -> Image.Image:
    """A picture of what is shown, once it is drawn."""
    page = shown if isinstance(shown, Page) else shown.page
    page.wait_for_timeout(_DRAWN_MS)
    with Image.open(BytesIO(shown.screenshot())) as picture:
        return picture.convert("RGB")


@contextmanager
def camera(folder: Path) -> Iterator[Camera]:
    """Start Chromium, which reaches this machine alone."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", OFFLINE]
        )
        yield Camera(browser, folder)
        browser.close()

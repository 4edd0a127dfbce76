"""The moving picture of the README: pictures one after the other, with what they show below."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from tests.screenshots import terminal
from tests.screenshots.camera import Camera, take

_WIDTH, _HEIGHT, _STRIP = 800, 511, 37
PAGE = (940, 600)  # px, of a page before it is made smaller
_GROUND, _TEXT, _LINE = (255, 255, 255), (26, 33, 41), (223, 227, 232)
_FONT = "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf"
_QUALITY = 80


class Moving:
    """Collects the pictures."""

    def __init__(self) -> None:
        self._frames: list[Image.Image] = []
        self._milliseconds: list[int] = []

    def add(self, picture: Image.Image, milliseconds: int, caption: str) -> None:
        """Add a picture that is shown so long, fitted into the frame from its upper left corner."""
        frame = Image.new("RGB", (_WIDTH, _HEIGHT + _STRIP), _GROUND)
        height = round(picture.height * _WIDTH / picture.width)
        fitted = picture.resize((_WIDTH, height), Image.Resampling.LANCZOS)
        frame.paste(fitted.crop((0, 0, _WIDTH, min(height, _HEIGHT))))
        draw = ImageDraw.Draw(frame)
        draw.rectangle((0, _HEIGHT, _WIDTH, _HEIGHT + _STRIP), _GROUND)
        draw.line((0, _HEIGHT, _WIDTH, _HEIGHT), _LINE)
        draw.text((16, _HEIGHT + 9), caption, _TEXT, ImageFont.truetype(_FONT, 17))
        self._frames.append(frame)
        self._milliseconds.append(milliseconds)

    def terminal(
        self, camera: Camera, command: str, screen: str, milliseconds: int, caption: str
    ) -> None:
        """Add a terminal in which a command was typed."""
        with camera.page(*PAGE) as page:
            page.set_content(terminal.page(terminal.panel(command, screen), ground="dark"))
            self.add(take(page), milliseconds, caption)

    def save(self, file: Path) -> None:
        """Write them as one WebP, which begins anew at its end."""
        first, *others = self._frames
        first.save(
            file,
            "WEBP",
            save_all=True,
            append_images=others,
            duration=self._milliseconds,
            loop=0,
            quality=_QUALITY,
            method=6,
        )

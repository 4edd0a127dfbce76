"""Pictures that need no server: presets, the report, the preview, the command."""

from __future__ import annotations

import base64
from io import BytesIO
from pathlib import Path

from PIL import Image

from detection.presets import PRESETS
from pipeline.local import crop
from pipeline.settings import CropSettings
from tests.photographs import photographs
from tests.screenshots import terminal
from tests.screenshots.album import EXHIBITION, NAME, write_exhibition
from tests.screenshots.camera import Camera, Scheme

_SCHEMES: tuple[Scheme, ...] = ("light", "dark")
_PRESET_HEIGHT = 190  # px, of each crop as it is shown
_PRESETS_STYLE = """
body { margin: 0; background: #fff; font: 13px/1.35 "DejaVu Sans", sans-serif; color: #1a2129; }
main { display: inline-flex; gap: 14px; padding: 8px; align-items: end; }
figure { margin: 0; }
figure img { display: block; border-radius: 4px; }
figure.avatar img { border-radius: 50%; }
figcaption { margin-top: 6px; } figcaption span { color: #556170; display: block; }
"""


def picture_presets(camera: Camera, data: Path) -> None:
    """The astronaut by each preset."""
    [astronaut] = [one.path for one in photographs() if one.path.stem == "astronaut"]
    source = data / "astronaut"
    source.mkdir()
    (source / astronaut.name).write_bytes(astronaut.read_bytes())
    figures = []
    for name in ("none", *(preset for preset in PRESETS if preset != "none")):
        output = data / f"preset-{name}"
        settings = {"crop": {"preset": name, "format": "png"}}
        crop(str(source), str(output), CropSettings.model_validate(settings))
        [file] = (output / "crops").iterdir()
        figures.append(_figure("no preset" if name == "none" else name, file.read_bytes()))
    html = f"<!doctype html><style>{_PRESETS_STYLE}</style><main>{''.join(figures)}</main>"
    camera.keep_html("presets", html, 1400)


def _figure(name: str, data: bytes) -> str:
    width, height = Image.open(BytesIO(data)).size
    source = f"data:image/png;base64,{base64.b64encode(data).decode()}"
    return (
        f'<figure class="{name}"><img src="{source}" height="{_PRESET_HEIGHT}" alt="">'
        f"<figcaption>{name}<span>{width} x {height}</span></figcaption></figure>"
    )


def picture_crop(camera: Camera, data: Path) -> None:
    """`facecrop crop` while it works and when it is done, and the batch's report."""
    command = f"facecrop crop {NAME} --output crops"
    recorded = terminal.record(command, data)
    screens = [recorded.first(r"\b[3-7]\d ?%"), recorded.end()]
    panels = [terminal.panel(command, screen) for screen in screens]
    camera.keep_html("terminal-crop", terminal.page(*panels))
    for scheme in _SCHEMES:
        with camera.page(scheme=scheme) as page:
            page.goto((data / "crops" / "report.html").as_uri())
            camera.keep(f"report-{scheme}", page)
    with camera.page() as page:
        page.goto((data / "crops" / "report.html").as_uri())
        page.locator(".charts").first.scroll_into_view_if_needed()
        camera.keep("report-charts", page)


def picture_preview(camera: Camera, data: Path) -> None:
    """`facecrop preview` and its report, with the faces on which profiles disagree."""
    write_exhibition(data / EXHIBITION)
    command = f"facecrop preview {EXHIBITION} --compare fast,balanced,thorough"
    recorded = terminal.record(command, data)
    camera.keep_html("terminal-preview", terminal.page(terminal.panel(command, recorded.end())))
    with camera.page() as page:
        page.goto((data / "preview.html").as_uri())
        camera.keep("preview", page)
        page.locator("#differences").scroll_into_view_if_needed()
        page.evaluate("scrollTo(0, document.querySelector('#differences').offsetTop - 260)")
        camera.keep("preview-compare", page)

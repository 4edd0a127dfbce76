"""Reports with more sections in a real browser: what they say, by keyboard, to a screen reader."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Browser, Page, expect, sync_playwright

from pipeline.local import crop
from pipeline.photographs.report import rewrite_report
from pipeline.preview.run import preview
from pipeline.settings import CropSettings
from tests.browser.test_dashboard import CHROMIUM, Watched
from tests.pictures import astronaut_jpeg, encoded, group, no_face_jpeg

pytestmark = [pytest.mark.slow, pytest.mark.browser]

DISAGREED = 40  # more than the page shows at first


def check(page: Page, watched: Watched) -> None:
    """The page has no serious fault for a screen reader, fits a telephone, has no complaint."""
    found = Axe().run(page).response["violations"]
    assert [fault["id"] for fault in found if fault["impact"] in ("serious", "critical")] == []
    page.set_viewport_size({"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert watched.complaints == []
    page.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a preview of 80 of 160 members; on half of these the profiles disagree."""
    folder = tmp_path_factory.mktemp("preview")
    small = encoded(group((500, 110), (1800, 1300)), "JPEG")
    with zipfile.ZipFile(folder / "school.zip", "w") as archive:
        for place in range(160):
            kind = place // 2 % 2  # one member of each two is drawn
            archive.writestr(f"{place:03}-<b>.jpg", small if kind else astronaut_jpeg(200))
    made = preview(
        str(folder / "school.zip"),
        str(folder / "preview.html"),
        count=80,
        compare=["fast", "thorough"],
        workers=3,
        cores=4,
    )
    assert made.disagreements == DISAGREED
    return folder / "preview.html"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_preview_tells_all_and_has_no_serious_fault(
    report: Path, browser: Browser, scheme: Any
) -> None:
    page = browser.new_page(color_scheme=scheme, viewport={"width": 1280, "height": 900})
    watched = Watched(page)
    page.goto(report.as_uri())
    expect(page.get_by_role("heading", level=1)).to_contain_text("school.zip")
    expect(page.locator("#state")).to_have_text("Preview of 80 members")

    table = page.get_by_role("table", name="In 95 of 100 samples")
    expect(table.get_by_role("row", name="Members 160 exact")).to_be_visible()
    expect(table.get_by_role("row", name=re.compile(r"^Faces (about )?[\d,]+ "))).to_be_visible()
    expect(table.get_by_role("row", name="Time on 3 workers of 4 cores, 1 of them")).to_be_visible()
    profiles = page.get_by_role("table", name="What each profile would come to")
    expect(profiles.get_by_role("row", name="thorough 120")).to_be_visible()

    shown = page.get_by_role("list", name="Faces on which they disagree").get_by_role("listitem")
    before = shown.count()
    assert 0 < before < DISAGREED
    page.locator("#differences-more").focus()
    page.keyboard.press("Enter")
    expect(shown).to_have_count(DISAGREED)
    expect(page.locator("#differences > li").nth(before)).to_be_focused()
    first = shown.first
    expect(first).to_contain_text("thorough finds it")
    expect(first).to_contain_text("not fast")
    expect(first).to_contain_text("-<b>.jpg")
    picture, box = (first.locator(part).bounding_box() for part in ("img", "rect:not(.under)"))
    assert picture is not None
    assert box is not None
    assert picture["x"] < box["x"] < box["x"] + box["width"] < picture["x"] + picture["width"]
    assert picture["y"] < box["y"] < box["y"] + box["height"] < picture["y"] + picture["height"]

    check(page, watched)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a batch of 30 photographs, one of them of two people and one of nobody."""
    folder = tmp_path_factory.mktemp("photographs")
    with zipfile.ZipFile(folder / "school.zip", "w") as archive:
        archive.writestr("00-<two>.jpg", encoded(group((500, 300), (900, 600)), "JPEG"))
        archive.writestr("01-nobody.jpg", no_face_jpeg())
        for place in range(2, 30):
            archive.writestr(f"{place:02}.jpg", astronaut_jpeg(200))
    crop(str(folder / "school.zip"), str(folder / "out"))
    return Path(rewrite_report(str(folder / "out"), photographs=True))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_photographs_have_the_boxes_of_their_faces(
    photographs: Path, browser: Browser, scheme: Any
) -> None:
    page = browser.new_page(color_scheme=scheme, viewport={"width": 1280, "height": 900})
    watched = Watched(page)
    page.goto(photographs.as_uri())
    shown = page.get_by_role("list", name="Photographs with the boxes").get_by_role("listitem")
    expect(shown).to_have_count(24)
    page.locator("#photographs-more").focus()
    page.keyboard.press("Enter")
    expect(shown).to_have_count(30)
    expect(page.locator("#photographs > li").nth(24)).to_be_focused()

    two = page.get_by_role("img", name="00-<two>.jpg: 2 faces")
    whole = two.bounding_box()
    assert whole is not None
    boxes = [box.bounding_box() for box in two.locator("rect:not(.under)").all()]
    assert len(boxes) == 2
    for box in boxes:
        assert box is not None
        assert whole["x"] < box["x"] < box["x"] + box["width"] < whole["x"] + whole["width"]
        assert whole["y"] < box["y"] < box["y"] + box["height"] < whole["y"] + whole["height"]
    assert page.get_by_role("img", name="01-nobody.jpg: no face was found").is_visible()

    check(page, watched)


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a batch with a roster, whose photographs come twice."""
    folder = tmp_path_factory.mktemp("compared")
    with zipfile.ZipFile(folder / "school.zip", "w") as archive:
        for place in range(120):
            archive.writestr(f"{place:03}-<b>.jpg", astronaut_jpeg(200))
        archive.writestr("nobody.jpg", no_face_jpeg())
    people = "".join(f"IMG_{place},<i>Doe {place}</i>\n" for place in range(130))
    (folder / "people.csv").write_text(f"stem,name\n119-<b>,Ann\n{people}")
    settings = {"input": {"dedupe": "exact"}, "roster": {"file": str(folder / "people.csv")}}
    crop(str(folder / "school.zip"), str(folder / "out"), CropSettings.model_validate(settings))
    return folder / "out" / "report.html"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_what_comes_twice_and_who_is_left_over_is_told(
    compared: Path, browser: Browser, scheme: Any
) -> None:
    page = browser.new_page(color_scheme=scheme, viewport={"width": 1280, "height": 900})
    watched = Watched(page)
    page.goto(compared.as_uri())
    expect(page.get_by_role("heading", name="Photographs that come twice")).to_be_visible()
    twice = page.get_by_role("table", name="The first 100 of 119")
    expect(twice.get_by_role("row")).to_have_count(101)
    expect(twice.get_by_role("row", name="001-<b>.jpg 000-<b>.jpg")).to_be_visible()
    # 000 is the only one of its kind that is cropped; all 121 are photographs
    photos = page.get_by_role("table", name="The first 100 of 120 photographs")
    expect(photos.get_by_role("rowheader", name="000-<b>.jpg")).to_be_visible()
    people = page.get_by_role("table", name="The first 100 of 130 people")
    expect(people.get_by_role("rowheader", name="IMG_7 · <i>Doe 7</i>")).to_be_visible()
    expect(page.get_by_role("link", name="unmatched.csv")).to_have_attribute(
        "href", "unmatched.csv"
    )

    check(page, watched)

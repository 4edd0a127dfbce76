"""The documents build as a site without a warning, and their links hold there and as files."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import yaml  # type: ignore[import-untyped]

from infra import docs

_FENCE = re.compile(r"^(```+).*?^\1$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#+ (.+?)\s*$", re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """The anchors that viewers of Markdown, such as GitHub's, make of a page's headings."""
    seen: Counter[str] = Counter()
    made = set()
    for heading in _HEADING.findall(_FENCE.sub("", (docs.ROOT / page).read_text())):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
        made.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return made


@dataclass
class Page(HTMLParser):
    """What a page of the site links to, loads and can be linked to by."""

    links: list[str] = field(default_factory=list)
    loaded: list[str] = field(default_factory=list)
    anchors: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = {name: value or "" for name, value in attrs}
        self.anchors.update(said[name] for name in ("id", "name") if name in said)
        if tag == "a" and "href" in said:
            self.links.append(said["href"])
        elif tag == "link" and said.get("rel") in {"stylesheet", "icon", "preload", "preconnect"}:
            self.loaded.append(said["href"])
        elif tag != "a":
            self.loaded += (said[name] for name in ("src", "srcset", "data") if said.get(name))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("documents")
    built = docs.build(folder)
    assert built.returncode == 0, built.stdout
    assert "No issues found" in built.stdout
    return folder / docs.SITE


@pytest.fixture(scope="module")
def built(site: Path) -> dict[Path, Page]:
    found = {}
    for file in site.rglob("*.html"):
        found[file] = Page()
        found[file].feed(file.read_text())
    return found


def test_every_page_is_in_the_navigation_once() -> None:
    def pages(nav: Any) -> list[str]:
        if isinstance(nav, str):
            return [nav]
        entries = nav.values() if isinstance(nav, dict) else nav
        return [page for entry in entries for page in pages(entry)]

    nav = yaml.safe_load((docs.ROOT / docs.CONFIG).read_text())["nav"]
    assert sorted(pages(nav)) == sorted(page.as_posix() for page in docs.pages())


def test_every_link_leads_somewhere_as_files() -> None:
    wrong = []
    for page in docs.pages():
        for link in docs.links((docs.ROOT / page).read_text()):
            if docs.is_outside(link):
                url = urlsplit(link)
                fine = url.scheme in {"http", "https"} and bool(url.hostname) and " " not in link
            else:
                file, anchor = docs.destination(page, link), urlsplit(link).fragment
                fine = (docs.ROOT / file).is_file() and (not anchor or anchor in anchors(file))
            if not fine:
                wrong.append(f"{page}: {link}")
    assert not wrong


def test_every_link_leads_somewhere_in_the_site(built: dict[Path, Page]) -> None:
    wrong = []
    for file, page in built.items():
        if file.name == "404.html":  # which is shown at any address, so its links begin at the root
            continue
        for link in (*page.links, *page.loaded):
            url = urlsplit(link)
            if url.scheme or link.startswith("//"):
                continue
            to = (file.parent / unquote(url.path)).resolve() if url.path else file
            to = to / "index.html" if to.is_dir() else to
            anchor = unquote(url.fragment)
            if not to.is_file() or (anchor and to in built and anchor not in built[to].anchors):
                wrong.append(f"{file.name}: {link}")
    assert not wrong


def test_the_site_loads_nothing_from_another_host(site: Path, built: dict[Path, Page]) -> None:
    loaded = [link for page in built.values() for link in page.loaded]
    for sheet in site.rglob("*.css"):
        loaded += re.findall(r"(?:url\([\"']?|@import [\"'])([^)\"']+)", sheet.read_text())
    assert loaded
    assert not [link for link in loaded if re.match(r"(https?:)?//", link)]


def test_code_is_no_link() -> None:
    text = "[a](b.md#c) `[d](e.md)`\n```sh\n[f](g.md)\n```\n![h](i.png)\n[j]: https://k.example\n"
    assert list(docs.links(text)) == ["b.md#c", "i.png", "https://k.example"]

"""Builds the documents as a site, strictly: `python -P -m infra.docs` puts it into dist/site.

The pages lie where people look for them in a checkout: some at the root, most in docs/. They are
gathered with the files that they link to, each under its own path, so that a link that works
between the files works in the site.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CONFIG = "mkdocs.yml"
STYLE = Path("docs/site.css")
PAGES = "dist/pages"  # these two as in mkdocs.yml
SITE = "dist/site"

_COLOUR = re.compile(r"\x1b\[[\d;]*m")
_CODE = re.compile(r"^(```+).*?^\1$|`[^`\n]+`", re.MULTILINE | re.DOTALL)
_LINKS = (
    re.compile(r"\]\(([^)\s]+)\)"),  # [text](link), ![text](link)
    re.compile(r"^\[[^\]]+\]: (\S+)", re.MULTILINE),  # [text]: link
    re.compile(r"<(?:img|source)\b[^>]*? src(?:set)?=\"([^\"]+)\""),
)


def pages() -> list[Path]:
    """List the Markdown files that the site is made of, relative to the project."""
    found = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "infra").rglob("*.md")]
    return sorted(page.relative_to(ROOT) for page in found)


def links(text: str) -> Iterator[str]:
    """Find what a page links to or shows, as its Markdown says it; what is code does not count."""
    text = _CODE.sub("", text)
    for pattern in _LINKS:
        yield from pattern.findall(text)


def is_outside(link: str) -> bool:
    """Whether a link names another host or a mailbox."""
    return re.match(r"[a-z]+:", link) is not None


def destination(page: Path, link: str) -> Path:
    """Find the file that a link within the project means.

    Args:
        page: that has the link, relative to the project.
        link: as it is written, with or without an anchor.

    Returns:
        The file, relative to the project.
    """
    path = link.partition("#")[0]
    return (ROOT / page.parent / path).resolve().relative_to(ROOT) if path else page


def gather(into: Path) -> None:
    """Copy the pages, and the files that they link to, each under its own path."""
    shutil.rmtree(into, ignore_errors=True)
    files = {STYLE, *pages()}
    for page in pages():
        inside = (link for link in links((ROOT / page).read_text("utf-8")) if not is_outside(link))
        files.update(destination(page, link) for link in inside)
    for file in files:
        if (ROOT / file).is_file():
            (into / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / file, into / file)


def build(folder: Path) -> subprocess.CompletedProcess[str]:
    """Build the site below a folder.

    Args:
        folder: that gets `PAGES` and `SITE`; the project's own, or another.

    Returns:
        How the builder ended, a warning being a failure, and what it printed.
    """
    gather(folder / PAGES)
    if folder != ROOT:
        shutil.copyfile(ROOT / CONFIG, folder / CONFIG)
    built = subprocess.run(
        [Path(sys.executable).with_name("zensical"), "build", "--strict", "--clean"],
        cwd=folder,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    # it colours its lines for no terminal, too, and ends a failure with its own traceback
    built.stdout = _COLOUR.sub("", built.stdout).partition("Traceback")[0]
    return built


if __name__ == "__main__":
    built = build(ROOT)
    print(built.stdout)
    if not built.returncode:
        print(ROOT / SITE / "index.html")
    sys.exit(built.returncode)

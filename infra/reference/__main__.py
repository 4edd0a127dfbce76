"""`python -P -m infra.reference` writes docs/reference.

Each page is a list of all that there is of a kind. What a description lacks is put into the code
that it is of, not into these modules.
"""

from __future__ import annotations

import sys
from pathlib import Path

from infra.reference.commands import commands
from infra.reference.data import codes, tables
from infra.reference.routes import metrics, routes
from infra.reference.settings import settings
from infra.reference.variables import variables

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "reference"

_NOTE = "<!-- Made by `make reference`: change what it is made of, not this page. -->\n"


def main() -> int:
    """Write the pages, and remove those that are no longer made."""
    made = pages()
    FOLDER.mkdir(exist_ok=True)
    for path in FOLDER.glob("*.md"):
        if path.name not in made:
            path.unlink()
    for name, text in made.items():
        (FOLDER / name).write_text(text)
    return 0


def pages() -> dict[str, str]:
    """Every page by the name of its file."""
    made = {
        "settings.md": settings(),
        "commands.md": commands(),
        "routes.md": routes(),
        "variables.md": variables(),
        "tables.md": tables(),
        "codes.md": codes(),
        "metrics.md": metrics(),
    }
    return {name: "\n".join([_NOTE, *lines]).rstrip() + "\n" for name, lines in made.items()}


if __name__ == "__main__":
    sys.exit(main())

"""Every variable of the environment, those of settings aside."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from infra.reference.markdown import section, table, title
from tasks import variables as declared

_EXAMPLE = Path(__file__).resolve().parents[1] / "env.example"


def variables() -> Iterator[str]:
    """The page, a line after the other."""
    yield from title(
        "Variables",
        "All variables of the environment that Facecrop's programs read and set. "
        "[Settings](settings.md) of a batch have `FACECROP_GROUP_FIELD` besides, and the HTTP "
        "service's [its own](settings.md#the-http-service).",
    )
    for heading, about, some in (
        ("Facecrop's own", "", declared.READ),
        (
            "Prefect's and the object store's",
            "Those that Facecrop reads itself. Prefect, fsspec and botocore read all of theirs.",
            declared.READ_OF_OTHERS,
        ),
        (
            "What Facecrop's programs set",
            "Where they are not set already.",
            (*declared.OF_PROGRAMS, declared.CONSOLE_LEVEL, declared.QUERY_SECONDS),
        ),
        ("What runs on a work pool have", "In the template of each pool.", declared.OF_RUNS),
    ):
        yield from section(heading, about)
        yield from table(
            ("variable", "value", ""),
            ((f"`{one.name}`", one.value and f"`{one.value}`", one.about) for one in some),
        )
    yield from section(
        "compose.yaml", "Read from `infra/.env`, which is a copy of `infra/env.example`."
    )
    yield from table(
        ("variable", "value", ""),
        (
            (f"`{name}`", value and f"`{value}`", about)
            for name, value, about in _of_compose(_EXAMPLE.read_text())
        ),
    )


def _of_compose(text: str) -> Iterator[tuple[str, str, str]]:
    """The variables of the example, each with what the comment before or behind it says."""
    about: list[str] = []
    ended = False
    for line in text.splitlines():
        if found := re.fullmatch(r"#?([A-Z0-9_]+)=(\S*)(?:\s+# ?(.+))?", line):
            yield found[1], found[2], found[3] or " ".join(about)
            ended = True
        elif line.startswith("#"):
            said = line.removeprefix("#")
            told = f"`{said.strip()}`" if said.startswith("   ") else said.strip()
            about = [told] if ended else [*about, told]
            ended = False
        else:
            about = []

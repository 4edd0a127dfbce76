"""The version: in pyproject.toml alone, and what CHANGELOG.md has it as."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_version_has_one_home_and_the_changelog_says_what_is_in_it() -> None:
    stated = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    assert version("facecrop") == stated, "install it again: bash infra/setup.sh"
    headings = re.findall("^## (.+)$", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert headings[0] == "Unreleased"
    assert re.fullmatch(rf"{re.escape(stated)} - \d{{4}}-\d\d-\d\d", headings[1])

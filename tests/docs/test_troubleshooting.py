"""The page for when it does not work says what to do about every code."""

from __future__ import annotations

import re

import pytest

from detection.errors import ImageErrorCode
from infra.docs import ROOT
from intake.cli.exits import ExitCode
from storage.errors import MemberErrorCode, SkipReason

PAGE = (ROOT / "docs" / "troubleshooting.md").read_text()


def rows(heading: str) -> set[str]:
    """The codes in the tables below a heading."""
    section = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return set(re.findall(r"(?m)^\| `?(\w+)`? \|", section)) - {"code"}


@pytest.mark.parametrize(
    ("heading", "codes"),
    [
        ("Error codes", {*ImageErrorCode, *MemberErrorCode, *SkipReason}),
        ("Exit codes", {str(int(code)) for code in ExitCode}),
    ],
)
def test_each_code_has_its_cure(heading: str, codes: set[str]) -> None:
    assert rows(heading) == {str(code) for code in codes}

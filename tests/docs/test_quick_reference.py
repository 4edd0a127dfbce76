"""The one page to work from leaves no error code out."""

from __future__ import annotations

import re

from detection.errors import ImageErrorCode
from infra.docs import ROOT
from storage.errors import MemberErrorCode


def test_every_error_has_its_line() -> None:
    page = (ROOT / "docs" / "quick-reference.md").read_text()
    lines = re.findall(r"^\| \[`(\w+)`\]\(\S+\) \| (.+) \|$", page, re.MULTILINE)
    assert {code for code, _ in lines} == {*ImageErrorCode, *MemberErrorCode}
    assert all(len(line) < 80 for _, line in lines)

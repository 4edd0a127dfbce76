"""Every column of a batch's tables and lists, and every code in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields
from inspect import cleandoc

from detection.errors import ImageErrorCode, ImageWarning
from facecrop.errors import Code
from infra.reference.markdown import section, table, title
from intake.cli.exits import ExitCode
from pipeline.keep import Reject
from storage.errors import MemberErrorCode, MemberWarning, SkipReason
from storage.output import columns
from storage.output.changes import Change
from storage.output.counts import Counts, Status


def tables() -> Iterator[str]:
    """The page of columns."""
    yield from title(
        "Tables",
        "All columns of a batch's tables and lists. [What they are for](../crop/output.md).",
    )
    member = [one for one in columns.MEMBERS if one.name in ("member", "path")]
    for name, about, some in (
        ("manifest.parquet", "A row for every member of the archive.", columns.MEMBERS),
        ("faces.parquet", "A row for every face.", (*member, *columns.FACES)),
        ("failed.csv", "A row for every member that failed.", columns.FAILED),
        ("skipped.csv", "A row for every member that was skipped.", columns.FAILED),
        ("changes.csv", "What was gone or changed at the last extension.", columns.CHANGES),
        ("unmatched.csv", "Who is left over of a roster.", columns.UNMATCHED),
        ("lots/", "What a batch took in, a file each time.", columns.LOT),
    ):
        yield from section(name, about)
        yield from table(
            ("column", "type", "null", ""),
            (
                (
                    f"`{one.name}`",
                    columns.told_type(one.type),
                    "may be" if one.nullable else "",
                    one.about,
                )
                for one in some
            ),
        )
    yield from section(
        "summary.json", "The counts of a batch. `format` and `manifest_bytes` are for Facecrop."
    )
    told = _attributes(Counts)
    yield from table(("field", ""), ((f"`{one.name}`", told[one.name]) for one in fields(Counts)))


def _attributes(kind: type) -> dict[str, str]:
    """What the docstring of a class says of each of its attributes."""
    _, _, listed = cleandoc(kind.__doc__ or "").partition("Attributes:\n")
    entries = re.findall(r"(?m)^ {4}(\w[\w, ]*): (.+(?:\n {8}.+)*)", listed)
    return {
        name.strip(): " ".join(about.split())
        for names, about in entries
        for name in names.split(",")
    }


def codes() -> Iterator[str]:
    """The page of codes."""
    yield from title(
        "Codes",
        "All codes that a batch's tables, its report, the commands and the HTTP service tell. "
        "[What to do about each](../troubleshooting.md#error-codes).",
    )
    for heading, about, kinds in (
        ("Status", "`status` in `manifest.parquet`: every member has exactly one.", (Status,)),
        (
            "Errors",
            "`error` of a member that is `failed`. What another try may mend was tried again "
            "before.",
            (ImageErrorCode, MemberErrorCode),
        ),
        ("Skipped", "`error` of a member that is `skipped`.", (SkipReason,)),
        (
            "Warnings",
            "`warnings` of a member: it was read, and something was done with a doubt.",
            (ImageWarning, MemberWarning),
        ),
        ("Not kept", "`kept_why` of a face that a threshold left out.", (Reject,)),
        ("Changes", "`change` in `changes.csv`.", (Change,)),
    ):
        yield from section(heading, about)
        all_of: list[Code] = sorted(code for kind in kinds for code in kind)
        yield from table(("code", ""), ((f"`{one}`", one.about) for one in all_of))
    yield from section("Exit codes", "Of every command of `facecrop`.")
    yield from table(("code", ""), ((f"`{code:d}`", code.about) for code in ExitCode))

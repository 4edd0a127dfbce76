"""What becomes of every block of the documents: run, parsed, shown, or left with its reason."""

from __future__ import annotations

import json
import tomllib
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field

import yaml  # type: ignore[import-untyped]

from infra.docs import ROOT, pages
from tests.docs.blocks import OUTPUT, REASONS, Block, blocks_of, inline_code
from tests.docs.commands import SampleError, check, check_inline, commands_of, console, shell_text

RUN = ("sh", "console", "python")
PARSED = {"json": json.loads, "yaml": yaml.safe_load, "toml": tomllib.loads}
SHOWN = ("text",)
"""Trees of folders, diagrams and such: nothing in them is for a machine."""
LEFT_ALONE = ("sql", "powershell", "nginx", "promql", "dockerfile")
"""Languages that nothing here runs or parses: they need a mark that says why."""


@dataclass
class Account:
    """What becomes of the blocks.

    Attributes:
        run: by page, in order.
        parsed, shown: languages, each as often as there are blocks.
        left: those that are not run here, each with its mark.
        commands: that are checked without being run, of blocks that are left.
        inline: commands and flags within sentences that are checked.
    """

    run: dict[str, list[Block]] = field(default_factory=dict)
    parsed: Counter[str] = field(default_factory=Counter)
    shown: Counter[str] = field(default_factory=Counter)
    left: list[Block] = field(default_factory=list)
    commands: int = 0
    inline: int = 0

    @property
    def blocks(self) -> int:
        """How many there are."""
        run = sum(map(len, self.run.values()))
        return run + self.parsed.total() + self.shown.total() + len(self.left)

    def table(self) -> str:
        """All of it for people."""
        languages = Counter(one.language for blocks in self.run.values() for one in blocks)
        lines = [
            f"{self.blocks} blocks",
            f"  run     {languages.total()} ({_told(languages)})",
            f"  parsed  {self.parsed.total()} ({_told(self.parsed)})",
            f"  shown   {self.shown.total()} (folders and diagrams)",
            f"  left    {len(self.left)}, of which {self.commands} commands are checked:",
        ]
        for block in sorted(self.left, key=lambda one: (one.mark, one.place)):
            why = f"; {block.remark}" if block.remark else ""
            lines.append(f"    {block.place} {REASONS[block.mark]}{why}")
        lines.append(f"{self.inline} commands and flags in sentences are checked")
        return "\n".join(lines)


def runnable() -> dict[str, list[Block]]:
    """What is run, by page; of a page that cannot be read nothing, which `account_for` tells."""
    found: dict[str, list[Block]] = {}
    for page in map(str, pages()):
        with suppress(ValueError, SampleError):
            blocks = [*blocks_of(page, (ROOT / page).read_text())]
            run = [one for one in blocks if one.language in RUN and not one.left]
            if run and all(map(shell_text, run)):
                found[page] = run
    return found


def account_for() -> Account:
    """Look at every page.

    Raises:
        SampleError: something in them is of no known kind, cannot be parsed, or names a command or
            a flag that there is not; the message has all of it, a line each.
    """
    account, faults = Account(), []
    for page in map(str, pages()):
        text = (ROOT / page).read_text()
        try:
            blocks = list(blocks_of(page, text))
        except ValueError as error:
            faults.append(str(error))
            continue
        for block in blocks:
            try:
                _take(account, block)
            except (SampleError, ValueError, yaml.YAMLError) as error:
                faults.append(f"{block.place}: {error}")
        for code in inline_code(text):
            try:
                account.inline += check_inline(code)
            except SampleError as error:
                faults.append(f"{page}: {error}")
    if faults:
        raise SampleError("\n".join(faults))
    return account


def _take(account: Account, block: Block) -> None:
    if block.mark and block.mark not in (*REASONS, OUTPUT):
        raise SampleError(f"{block.mark} is no reason; there are {', '.join(REASONS)}, {OUTPUT}")
    if block.language in RUN and not block.left:
        account.run.setdefault(block.page, []).append(block)
        if block.language == "console":
            console(block)
    elif block.language in RUN or (block.language in LEFT_ALONE and block.left):
        account.left.append(block)
        if block.language == "python":
            compile(block.text, block.place, "exec")
        elif block.language != "sql":
            account.commands += sum(
                check(program, words) for program, *words in commands_of(shell_text(block))
            )
    elif block.language in PARSED:
        PARSED[block.language](block.text)
        account.parsed[block.language] += 1
    elif block.language in SHOWN:
        if any(line.startswith(("$ ", "facecrop ", "prefect ")) for line in block.text.split("\n")):
            raise SampleError("commands stand in blocks of sh or console, where they are run")
        account.shown[block.language] += 1
    else:
        raise SampleError(
            f"{block.language or 'no language'} is of no known kind: say "
            f"{', '.join((*RUN, *PARSED, *SHOWN))}, or why it is not run, by a mark: "
            "tests/docs/blocks.py"
        )


def _told(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))

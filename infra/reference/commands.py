"""Every command, with its arguments and flags."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from infra.reference.markdown import section, table, title
from intake.cli.parsers.parse import grammar
from pipeline.settings import CropSettings


def commands() -> Iterator[str]:
    """The page, a line after the other."""
    yield from title(
        "Commands",
        "All commands of `facecrop`, which `facecrop COMMAND --help` tells, too. "
        "[Exit codes](codes.md#exit-codes).",
    )
    for name, parser in _parsers(grammar(everything=True)):
        yield from section(name, parser.description or "")
        settings = [
            group.title
            for group in parser._action_groups
            if group.title in CropSettings.model_fields and group._group_actions
        ]
        rows = [
            (_spelled(action), (action.help or "").replace("%%", "%"))
            for action in parser._actions
            if action.help != argparse.SUPPRESS
            and action.dest not in ("help", "settings")
            and not isinstance(action.choices, dict)
        ]
        if rows:
            yield from table(("", ""), rows)
        if len(settings) == len(CropSettings.model_fields):
            yield from ("And all [settings](settings.md).", "")
        elif settings:
            flags = [
                f"`{action.option_strings[0]}`"
                for action in parser._actions
                if action.dest == "settings"
            ]
            yield from (f"And these [settings](settings.md): {', '.join(flags)}.", "")


def _parsers(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    for action in parser._actions:
        if isinstance(action.choices, dict):
            for one in action.choices.values():
                yield one.prog, one
                yield from _parsers(one)


def _spelled(action: argparse.Action) -> str:
    """An argument as it is given."""
    if not action.option_strings:
        return f"`{action.metavar}`{' …' if action.nargs == '+' else ''}"
    takes = f" {action.metavar}" if action.nargs != 0 and action.metavar else ""
    return ", ".join(f"`{one}{takes}`" for one in action.option_strings)

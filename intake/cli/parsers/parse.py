"""What was asked for on the command line."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from intake.cli.exits import EXIT_CODES
from intake.cli.parsers import batches, cropping, machines, preview, stores


def parse(argv: list[str] | None) -> tuple[str, dict[str, Any]]:
    """The function of intake/cli that does what was asked for, as MODULE:NAME, and its arguments.

    Raises:
        SystemExit: with 2, once the fault has been printed; with 0 after `--help`.
    """
    everything = cropping.HELP_ALL in (sys.argv if argv is None else argv)
    given = vars(grammar(everything=everything).parse_args(argv))
    return given.pop("function"), given


def grammar(*, everything: bool) -> argparse.ArgumentParser:
    """Every command and flag; with all settings in their help, or those of most people."""
    parser = argparse.ArgumentParser(
        prog="facecrop",
        description="Find every face in an archive of photographs and cut each one out.",
        epilog=EXIT_CODES,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--version",
        action=_Version,
        nargs=0,
        default=argparse.SUPPRESS,
        help="print the version and exit",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    cropping.add_commands(commands, everything=everything)
    preview.add_commands(commands, everything=everything)
    for others in (batches, stores, machines):
        others.add_commands(commands)
    return parser


class _Version(argparse.Action):
    """Looks the version up only when it is asked for: that opens the installed metadata."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        print(f"facecrop {version('facecrop')}")
        parser.exit()

"""Commands about what lies in a store: `find`, `forget`, `report`, `cleanup`."""

from __future__ import annotations

import argparse
import re

from intake.cli.exits import EXIT_CODES
from intake.cli.parsers.values import A_LINE, Commands, add_json, up_to

_MOST_DAYS = 3660  # ten years


def add_commands(commands: Commands) -> None:
    """Add the commands."""
    _add_find(commands)
    _add_forget(commands)
    _add_report(commands)
    _add_cleanup(commands)


def _add_find(commands: Commands) -> None:
    find = commands.add_parser(
        "find",
        help="find a photograph in the batches of a store",
        description="Show which batches have a photograph, and what became of it: its row, its "
        "faces and their crops. Asks no server.",
        epilog=EXIT_CODES,
        allow_abbrev=False,
    )
    _add_store(find, "folder or URI below which the outputs lie")
    wanted = find.add_mutually_exclusive_group(required=True)
    _add_wanted(wanted)
    wanted.add_argument(
        "--batch",
        metavar="ID",
        help="of a batch instead: as `facecrop submit` prints it, or as batch.json has it",
    )
    add_json(find, A_LINE)
    find.set_defaults(function="find:find")


def _add_forget(commands: Commands) -> None:
    forget = commands.add_parser(
        "forget",
        help="remove a photograph from a batch's output, for good",
        description="Show what a finished batch has of a photograph: crops, rows, faces. --yes "
        "removes all of it, so that nothing brings it back, and writes a receipt. Asks no server.",
        epilog=EXIT_CODES,
        allow_abbrev=False,
    )
    forget.add_argument("output", metavar="OUTPUT", help="folder or URI of the batch's output")
    _add_wanted(forget.add_mutually_exclusive_group(required=True))
    forget.add_argument("--yes", dest="remove", action="store_true", help="remove it")
    add_json(forget, A_LINE)
    forget.set_defaults(function="forget:forget_photograph")


def _add_report(commands: Commands) -> None:
    report = commands.add_parser(
        "report",
        help="write the report of a finished batch anew",
        description="Write report.html anew; with --photographs it shows photographs, too, with "
        "the boxes of all faces that were found in them.",
        epilog=EXIT_CODES,
        allow_abbrev=False,
    )
    report.add_argument("output", metavar="OUTPUT", help="folder or URI of the batch's output")
    report.add_argument(
        "--photographs",
        action="store_true",
        help="read up to 100 photographs from the archive again, and show them small",
    )
    add_json(report, "print one JSON object")
    report.set_defaults(function="report:rewrite")


def _add_wanted(parser: argparse._MutuallyExclusiveGroup) -> None:
    """Add the flags that say which photograph is meant."""
    parser.add_argument(
        "--path",
        type=_name,
        metavar="NAME",
        help="the path in its archive, or the end of it from a folder or the name on",
    )
    parser.add_argument("--sha256", type=_digest, metavar="HEX", help="the hash of its file")


def _name(text: str) -> str:
    if not text.strip("/"):
        raise argparse.ArgumentTypeError("should be the path or the name of a file")
    return text


def _digest(text: str) -> str:
    if not re.fullmatch(r"[0-9a-fA-F]{64}", text):
        raise argparse.ArgumentTypeError(
            f"{text}: should be 64 hexadecimal digits, as sha256sum prints them"
        )
    return text.lower()


def _add_store(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument("--store", metavar="PREFIX", help=f"{what}; also FACECROP_HTTP_STORE")


def _add_cleanup(commands: Commands) -> None:
    cleanup = commands.add_parser(
        "cleanup",
        help="remove old runs, uploads and batches",
        description="Show what is old: Facecrop's runs that ended long ago, with their logs and "
        "artifacts, and uploads that nothing needs. --yes removes it.",
        epilog=EXIT_CODES,
        allow_abbrev=False,
    )
    cleanup.add_argument(
        "--older-than",
        dest="days",
        type=up_to(_MOST_DAYS, "days"),
        default=30.0,
        metavar="DAYS",
        help=f"what is old (above 0, at most {_MOST_DAYS}; default 30)",
    )
    cleanup.add_argument(
        "--store",
        metavar="PREFIX",
        help="folder or URI that the HTTP service keeps uploads/ and batches/ in; also "
        "FACECROP_HTTP_STORE. Without it, only runs are considered",
    )
    cleanup.add_argument(
        "--batches",
        dest="outputs",
        action="store_true",
        help="the outputs of finished batches in the store, too, crops and all",
    )
    cleanup.add_argument("--yes", dest="remove", action="store_true", help="remove it")
    add_json(cleanup, A_LINE)
    cleanup.set_defaults(function="cleanup:clean_up")

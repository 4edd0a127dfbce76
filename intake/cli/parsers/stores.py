"""Commands about what lies in a store: `cleanup`."""

from __future__ import annotations

from intake.cli.parsers.values import A_LINE, EXIT_CODES, Commands, add_json, up_to

_MOST_DAYS = 3660  # ten years


def add_commands(commands: Commands) -> None:
    """Add the commands."""
    _add_cleanup(commands)


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

"""The command that says what a batch would come to: `preview`."""

from __future__ import annotations

import argparse
from datetime import datetime, timedelta

from detection.settings import PROFILES
from intake.cli.exits import EXIT_CODES
from intake.cli.parsers.cropping import SETTINGS, add_settings
from intake.cli.parsers.values import Commands, add_json, whole
from pipeline.preview import COUNT, MOST

_MOST_WORKERS = 10_000
_MOST_CORES = 1024
_MOST_SEED = 2**53


def add_commands(commands: Commands, *, everything: bool) -> None:
    """Add the command; with all settings in its help, or those that most people choose by."""
    preview = commands.add_parser(
        "preview",
        help="crop some members, and estimate what all would come to",
        description="Crop members of an archive that are spread evenly over it, and estimate with "
        "intervals of 95 % what all of it would come to: faces, failures, hours, bytes. Nothing of "
        "the rest is read.",
        epilog=f"{SETTINGS} {EXIT_CODES}",
        allow_abbrev=False,
    )
    preview.add_argument("archive", metavar="ARCHIVE", help="as for `facecrop crop`")
    preview.add_argument(
        "--output",
        default="preview.html",
        metavar="FILE.html",
        help="path or URI of the report (default preview.html); another preview is replaced",
    )
    preview.add_argument(
        "--count",
        type=whole(1, MOST, f"from 1 to {MOST}"),
        default=COUNT,
        metavar="N",
        help=f"members to crop (default {COUNT})",
    )
    preview.add_argument(
        "--seed",
        type=whole(0, _MOST_SEED, "of at most 53 bits"),
        default=1,
        metavar="N",
        help="another one has other members chosen (default 1)",
    )
    preview.add_argument(
        "--compare",
        type=_profiles,
        default=[],
        metavar="PROFILE,...",
        help=f"detection profiles to put side by side, of {', '.join(PROFILES)}",
    )
    preview.add_argument(
        "--workers",
        type=whole(1, _MOST_WORKERS, f"from 1 to {_MOST_WORKERS}"),
        default=1,
        metavar="N",
        help="say how long the batch takes on so many workers (default 1)",
    )
    preview.add_argument(
        "--cores",
        type=whole(1, _MOST_CORES, f"from 1 to {_MOST_CORES}"),
        default=0,
        metavar="N",
        help="cores of each worker (default: as many as this machine has)",
    )
    preview.add_argument(
        "--by",
        type=_moment,
        metavar="TIME",
        help="say how many workers have it done by then: 08:00, or 2026-03-01T08:00",
    )
    add_json(preview, "print one JSON object")
    preview.add_argument("--verbose", action="store_true", help="show the log, no progress bar")
    add_settings(preview, everything=everything)
    preview.set_defaults(function="preview:preview_archive")


def _profiles(text: str) -> list[str]:
    """Read names of profiles."""
    names = [name.strip() for name in text.split(",")]
    unknown = next((name for name in names if name not in PROFILES), None)
    if unknown is not None:
        raise argparse.ArgumentTypeError(
            f"{unknown!r} is no profile; compare some of {','.join(PROFILES)}"
        )
    if len(set(names)) < len(names):
        raise argparse.ArgumentTypeError(f"{text}: should name each profile once")
    return names


def _moment(text: str) -> datetime:
    """Read a time of day, which is the next one, or a date with it; of this machine's zone."""
    now = datetime.now().astimezone()
    try:
        if "T" in text or "-" in text:
            return datetime.fromisoformat(text).astimezone()
        clock = datetime.strptime(text, "%H:%M")
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(
            f"{text}: should be a time such as 08:00, or 2026-03-01T08:00"
        ) from None
    today = now.replace(hour=clock.hour, minute=clock.minute, second=0, microsecond=0)
    return today if today > now else today + timedelta(days=1)

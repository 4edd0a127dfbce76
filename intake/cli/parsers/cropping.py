"""Commands that make a batch: `crop`, `submit`, `recrop`."""

from __future__ import annotations

import argparse

from intake.cli.exits import EXIT_CODES
from intake.cli.options import add_options
from intake.cli.parsers.values import A_LINE, Commands, add_json, add_watch, whole

CROP = "crop:crop_all"
HELP_ALL = "--help-all"
SETTINGS = (
    f"{HELP_ALL} shows all settings. Each may also be given as FACECROP_GROUP_FIELD in the "
    "environment."
)


def add_commands(commands: Commands, *, everything: bool) -> None:
    """Add the commands; with all settings in their help, or those that most people choose by."""
    _add_crop(commands, everything=everything)
    _add_submit(commands, everything=everything)
    _add_recrop(commands)


def _add_crop(commands: Commands, *, everything: bool) -> None:
    crop = commands.add_parser(
        "crop",
        help="crop archives here and now",
        description="Crop archives on this machine. Run again, it goes on where it stopped.",
        epilog=f"{SETTINGS} {EXIT_CODES}",
        allow_abbrev=False,
    )
    crop.add_argument(
        "archives",
        nargs="+",
        metavar="ARCHIVE",
        help="ZIP, TAR (compressed or not), a folder or a .txt list of image URIs; a path or URI",
    )
    crop.add_argument(
        "--output",
        required=True,
        metavar="DIR",
        help="folder or URI for the crops and the manifest; with several archives, each gets a "
        "folder of its own name in it",
    )
    add_json(crop, "print one JSON object an archive")
    crop.add_argument("--verbose", action="store_true", help="show the log, no progress bar")
    crop.add_argument(
        "--prefect",
        dest="with_prefect",
        action=argparse.BooleanOptionalAction,
        help="whether the batch is a flow run of Prefect's, on its dashboard, or needs no Prefect "
        "(default: where PREFECT_API_URL or a profile names a server)",
    )
    add_settings(crop, everything=everything)
    crop.set_defaults(function=CROP)


def _add_submit(commands: Commands, *, everything: bool) -> None:
    submit = commands.add_parser(
        "submit",
        help="hand an archive to a Prefect deployment",
        description="Start a run of a deployment on the Prefect server of PREFECT_API_URL.",
        epilog=f"{SETTINGS} {EXIT_CODES}",
    )
    submit.add_argument("archive", metavar="ARCHIVE", help="as for `facecrop crop`")
    submit.add_argument("--output", required=True, metavar="DIR", help="folder or URI")
    submit.add_argument(
        "--deployment",
        default="crop-archive/local",
        metavar="FLOW/NAME",
        help="which deployment runs it (default crop-archive/local)",
    )
    submit.add_argument(
        "--priority",
        type=whole(1, 10, "from 1 to 10"),
        default=5,
        metavar="1-10",
        help="1 goes first (default 5)",
    )
    submit.add_argument("--project", default="", metavar="NAME", help="whom the batch is for")
    add_watch(submit)
    add_json(submit, A_LINE)
    add_settings(submit, everything=everything)
    submit.set_defaults(function="submit:submit")


def _add_recrop(commands: Commands) -> None:
    recrop = commands.add_parser(
        "recrop",
        help="cut the faces of a finished batch out another way",
        description="Cut the faces of a finished batch out another way, on this machine: nothing "
        "is searched, and only photographs with wanted faces are read. The batch stays as it is. "
        "Run again, it goes on where it stopped.",
        epilog=EXIT_CODES,
        allow_abbrev=False,
    )
    recrop.add_argument("output", metavar="OUTPUT", help="the batch's folder or URI")
    recrop.add_argument(
        "--into", required=True, metavar="DIR", help="folder or URI to be made, laid out as OUTPUT"
    )
    recrop.add_argument(
        "--where",
        default="",
        metavar="EXPRESSION",
        help="which faces are wanted, by columns of faces.parquet and manifest.parquet, such as "
        '"sharpness > 0.5 and abs(yaw) < 20" or "path like \'class-3a/%%\'" (default: all)',
    )
    recrop.add_argument(
        "--cut",
        dest="cuts",
        action="append",
        default=[],
        metavar="NAME[:FIELD=VALUE,...]",
        help="one of several ways to cut in one pass, into the folder NAME of --into: a preset by "
        "its name, or fields of crop, such as small:size=112,format=webp; what it does not say is "
        "as --crop-… say",
    )
    add_json(recrop, "print one JSON object an output")
    recrop.add_argument("--verbose", action="store_true", help="show the log, no progress bar")
    add_options(recrop, only=["crop", "output.layout", "run.existing", "run.threads"])
    recrop.set_defaults(function="recrop:recrop_all")


def add_settings(parser: argparse.ArgumentParser, *, everything: bool) -> None:
    """Add a flag for each setting; with all of them in its help, or those of most people."""
    parser.add_argument(
        HELP_ALL, action="help", help="show this help message with all settings and exit"
    )
    add_options(parser, everything=everything)

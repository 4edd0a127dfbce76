"""The command line's grammar: every command, argument and flag of `facecrop`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias
from uuid import UUID

from intake.cli.options import add_options

CROP = "crop:crop_all"
_EXIT_CODES = "exit codes: 0 done; 1 failed; 2 wrong use; 3 done, but some images failed"
_MOST_HOURS = 8784  # a year
_MOST_DAYS = 3660  # ten of them
_MOST_WORKERS = 1000
_PORTS = 1 << 16
_A_LINE = "print JSON objects, one a line"

_HELP_ALL = "--help-all"
_SETTINGS = (
    f"{_HELP_ALL} shows all settings. Each may also be given as FACECROP_GROUP_FIELD in the "
    "environment."
)

_Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def parse(argv: list[str] | None) -> tuple[str, dict[str, Any]]:
    """The function of intake/cli that does what was asked for, as MODULE:NAME, and its arguments.

    Raises:
        SystemExit: with 2, once the fault has been printed; with 0 after `--help`.
    """
    parser = argparse.ArgumentParser(
        prog="facecrop",
        description="Find every face in an archive of photographs and cut each one out.",
        epilog=_EXIT_CODES,
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
    everything = _HELP_ALL in (sys.argv if argv is None else argv)
    _add_crop(commands, everything=everything)
    _add_submit(commands, everything=everything)
    _add_batch_commands(commands)
    _add_cleanup(commands)
    _add_sample(commands)
    _add_doctor(commands)
    _add_queues(commands)
    _add_workers(commands)
    _add_serve(commands)
    _add_api_key(commands)
    given = vars(parser.parse_args(argv))
    return given.pop("function"), given


class _Version(argparse.Action):
    """Looks the version up only when it is asked for: that opens the installed metadata."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        print(f"facecrop {version('facecrop')}")
        parser.exit()


def _add_crop(commands: _Commands, *, everything: bool) -> None:
    crop = commands.add_parser(
        "crop",
        help="crop archives here and now",
        description="Crop archives on this machine. Run again, it goes on where it stopped.",
        epilog=f"{_SETTINGS} {_EXIT_CODES}",
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
    _add_json(crop, "print one JSON object an archive")
    crop.add_argument("--verbose", action="store_true", help="show the log, no progress bar")
    crop.add_argument(
        "--prefect",
        dest="with_prefect",
        action=argparse.BooleanOptionalAction,
        help="whether the batch is a flow run of Prefect's, on its dashboard, or needs no Prefect "
        "(default: where PREFECT_API_URL or a profile names a server)",
    )
    _add_settings(crop, everything=everything)
    crop.set_defaults(function=CROP)


def _add_settings(parser: argparse.ArgumentParser, *, everything: bool) -> None:
    parser.add_argument(
        _HELP_ALL, action="help", help="show this help message with all settings and exit"
    )
    add_options(parser, everything=everything)


def _add_submit(commands: _Commands, *, everything: bool) -> None:
    submit = commands.add_parser(
        "submit",
        help="hand an archive to a Prefect deployment",
        description="Start a run of a deployment on the Prefect server of PREFECT_API_URL.",
        epilog=f"{_SETTINGS} {_EXIT_CODES}",
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
        type=_whole(1, 10, "from 1 to 10"),
        default=5,
        metavar="1-10",
        help="1 goes first (default 5)",
    )
    submit.add_argument("--project", default="", metavar="NAME", help="whom the batch is for")
    _add_watch(submit)
    _add_json(submit, _A_LINE)
    _add_settings(submit, everything=everything)
    submit.set_defaults(function="submit:submit")


def _add_batch_commands(commands: _Commands) -> None:
    """Those that take the id of one batch."""

    def add(
        name: str, function: str, help: str, description: str, **given: str
    ) -> argparse.ArgumentParser:
        parser = commands.add_parser(
            name, help=help, description=description, epilog=_EXIT_CODES, allow_abbrev=False
        )
        parser.add_argument(
            "batch", type=_batch, metavar="BATCH", help="its id, as `facecrop submit` prints it"
        )
        _add_json(parser, _A_LINE)
        parser.set_defaults(function=f"status:{function}", **given)
        return parser

    status = add(
        "status",
        "show_status",
        "show how far a batch is",
        "Show a batch's state, images, faces, failures, speed and time left. Exits 0 while it "
        "runs; once it has ended, as `facecrop crop` would have.",
    )
    _add_watch(status)
    failed = add(
        "failed",
        "show_failed",
        "show which images of a batch failed, and why",
        "Show the images that failed, those of a batch that still runs as well.",
    )
    failed.add_argument(
        "--csv", dest="as_csv", action="store_true", help="print all of them as CSV"
    )
    retry = add(
        "retry",
        "retry",
        "retry the failed images of a batch",
        "Start a run that retries only the failed images of a completed batch, into the same "
        "output. Limits that are given are raised for it.",
    )
    _add_watch(retry)
    add_options(retry, only="limits")
    for name, help, description in (
        (
            "cancel",
            "end a batch with its shards",
            "End a batch. What it has done stays; submitted again, it goes on from there.",
        ),
        ("pause", "take a batch off its workers", "Take a batch off its workers within seconds."),
        ("resume", "have a paused batch go on", "Have a paused batch go on where it stopped."),
    ):
        add(name, "steer", help, description, command=name)


def _add_cleanup(commands: _Commands) -> None:
    cleanup = commands.add_parser(
        "cleanup",
        help="remove old runs, uploads and batches",
        description="Show what is old: Facecrop's runs that ended long ago, with their logs and "
        "artifacts, and uploads that nothing needs. --yes removes it.",
        epilog=_EXIT_CODES,
        allow_abbrev=False,
    )
    cleanup.add_argument(
        "--older-than",
        dest="days",
        type=_up_to(_MOST_DAYS, "days"),
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
    _add_json(cleanup, _A_LINE)
    cleanup.set_defaults(function="cleanup:clean_up")


def _add_sample(commands: _Commands) -> None:
    sample = commands.add_parser(
        "sample",
        help="write a ZIP of sample photographs",
        description="Write a ZIP made of the photographs that come with scikit-image: with one "
        "face, several, none, in every EXIF orientation and several formats, and one damaged.",
    )
    sample.add_argument("path", type=Path, metavar="FILE.zip")
    sample.add_argument("--count", type=int, default=40, metavar="N", help="members (default 40)")
    sample.set_defaults(function="samples:sample")


def _add_doctor(commands: _Commands) -> None:
    doctor = commands.add_parser(
        "doctor",
        help="check that everything a batch needs is there",
        description="Check the Prefect server of PREFECT_API_URL, its Redis, pools, workers and "
        "deployments, and the output: a line each, with what to do. Exits 1 if one is bad.",
        epilog=_EXIT_CODES,
    )
    doctor.add_argument(
        "--output",
        metavar="DIR",
        help="folder or URI to write a small file to, and delete it again; also "
        "FACECROP_DOCTOR_OUTPUT",
    )
    _add_json(doctor, "print one JSON object a check")
    doctor.set_defaults(function="doctor:examine")


def _add_queues(commands: _Commands) -> None:
    queues = commands.add_parser(
        "queues",
        help="show what waits, runs and has ended in each queue",
        description="Show each queue of the facecrop-* work pools in which there is anything.",
        epilog=_EXIT_CODES,
    )
    queues.add_argument(
        "--since",
        dest="hours",
        type=_up_to(_MOST_HOURS, "hours"),
        default=24.0,
        metavar="HOURS",
        help="how far back to count what is done and failed (above 0, at most 8784; default 24)",
    )
    queues.add_argument("--all", dest="empty", action="store_true", help="show empty queues, too")
    _add_json(queues, "print one JSON object a queue")
    queues.set_defaults(function="queues:show_queues")


def _add_workers(commands: _Commands) -> None:
    workers = commands.add_parser(
        "workers",
        help="show the workers, or have more or fewer",
        description="Show who polls the facecrop-* work pools. `workers scale N` has N of them.",
        epilog=_EXIT_CODES,
    )
    workers.add_argument(
        "--all",
        dest="forgotten",
        action="store_true",
        help="show those, too, that have been silent for a day",
    )
    _add_json(workers, "print one JSON object a worker")
    workers.set_defaults(function="workers:show_or_scale", count=None)
    actions = workers.add_subparsers(metavar="ACTION")
    scale = actions.add_parser(
        "scale",
        help="have so many workers",
        description="Set the number of workers: of the Kubernetes deployment "
        "FACECROP_KUBE_DEPLOYMENT (default deployment/facecrop-worker) where kubectl finds it, "
        "else of infra/compose.yaml where that is up.",
        epilog=_EXIT_CODES,
    )
    count = _whole(0, _MOST_WORKERS, f"from 0 to {_MOST_WORKERS}")
    scale.add_argument("count", type=count, metavar="N", help="0 to 1000")
    # a default here would undo a --json before `scale`
    _add_json(scale, "print one JSON object", default=argparse.SUPPRESS)


def _add_serve(commands: _Commands) -> None:
    serve = commands.add_parser(
        "serve",
        help="take batches in over HTTP",
        description="Serve HTTP in front of the Prefect server of PREFECT_API_URL. Its settings "
        "are FACECROP_HTTP_* in the environment: see docs/http.md.",
        epilog=_EXIT_CODES,
    )
    serve.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="address to bind to (default 127.0.0.1; another needs API keys)",
    )
    serve.add_argument(
        "--port",
        type=_whole(0, _PORTS - 1, f"below {_PORTS}"),
        default=8000,
        metavar="PORT",
        help="0 for a free one (default 8000)",
    )
    serve.set_defaults(function="serve:serve")


def _add_api_key(commands: _Commands) -> None:
    api_key = commands.add_parser(
        "api-key",
        help="make a key for the HTTP service",
        description="Print a new API key, once, and the line for the file FACECROP_HTTP_KEYS that "
        "lets it in.",
    )
    api_key.add_argument("name", metavar="NAME", help="whom it is for: its batches are theirs")
    api_key.add_argument(
        "--admin", action="store_true", help="let it see and steer everybody's batches"
    )
    api_key.set_defaults(function="serve:print_key")


def _add_watch(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--watch", action="store_true", help="show its progress until it is done")


def _add_json(parser: argparse.ArgumentParser, help: str, default: Any = False) -> None:
    parser.add_argument("--json", dest="as_json", action="store_true", default=default, help=help)


def _batch(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text}: should be a batch's id, such as {UUID(int=0)}; `facecrop submit` prints it"
        ) from None


def _up_to(most: int, unit: str) -> Callable[[str], float]:
    """Read a number above 0."""

    def read(text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = 0.0
        if not 0 < number <= most:
            raise argparse.ArgumentTypeError(f"{text}: should be above 0 and at most {most} {unit}")
        return number

    return read


def _whole(least: int, most: int, said: str) -> Callable[[str], int]:
    """Read a whole number."""

    def read(text: str) -> int:
        if not (text.isdecimal() and least <= int(text) <= most):
            raise argparse.ArgumentTypeError(f"{text}: should be a number {said}")
        return int(text)

    return read

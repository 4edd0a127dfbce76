"""The command line's grammar: every command, argument and flag of `facecrop`."""

from __future__ import annotations

import argparse
from importlib.metadata import version
from pathlib import Path
from uuid import UUID

from intake.options import add_options

_EXIT_CODES = "exit codes: 0 done; 1 failed; 2 wrong use; 3 done, but some images failed"
_MOST_HOURS = 8784  # a year
_MOST_DAYS = 3660  # ten of them
_MOST_WORKERS = 1000
_PORTS = 1 << 16


def parse(argv: list[str] | None) -> argparse.Namespace:
    """What was asked for; `command` says which of the commands of intake/cli.py.

    Raises:
        SystemExit: with 2, once the fault has been printed; with 0 after `--help`.
    """
    parser = argparse.ArgumentParser(
        prog="facecrop",
        description="Find every face in an archive of photographs and cut each one out.",
        epilog=_EXIT_CODES,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"facecrop {version('facecrop')}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_crop(commands)
    _add_submit(commands)
    _add_batch_commands(commands)
    _add_cleanup(commands)
    _add_sample(commands)
    _add_doctor(commands)
    _add_queues(commands)
    _add_workers(commands)
    _add_serve(commands)
    _add_api_key(commands)
    return parser.parse_args(argv)


def _add_crop(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    crop = commands.add_parser(
        "crop",
        help="crop archives here and now",
        description="Crop archives on this machine. Run again, it goes on where it stopped.",
        epilog=f"Each setting may also be given as FACECROP_GROUP_FIELD in the environment. "
        f"{_EXIT_CODES}",
        allow_abbrev=False,
    )
    crop.add_argument(
        "archives",
        nargs="+",
        metavar="ARCHIVE",
        help="ZIP, TAR, TAR.GZ, TAR.ZST, a folder, or a .txt list of image URIs; a path or a URI",
    )
    crop.add_argument(
        "--output",
        required=True,
        metavar="DIR",
        help="folder or URI for the crops and the manifest; with several archives, each gets a "
        "folder of its own name in it",
    )
    crop.add_argument("--json", action="store_true", help="print one JSON object an archive")
    crop.add_argument("--verbose", action="store_true", help="show Prefect's log, no progress bar")
    add_options(crop)
    crop.set_defaults(command="crop")


def _add_submit(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    submit = commands.add_parser(
        "submit",
        help="hand an archive to a Prefect deployment",
        description="Start a run of a deployment on the Prefect server of PREFECT_API_URL.",
        epilog=_EXIT_CODES,
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
        type=_priority,
        default=5,
        metavar="1-10",
        help="1 goes first (default 5)",
    )
    submit.add_argument("--project", default="", metavar="NAME", help="whom the batch is for")
    _add_watch(submit)
    submit.add_argument("--json", action="store_true", help="print JSON objects, one a line")
    add_options(submit)
    submit.set_defaults(command="submit")


def _add_batch_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Those that take the id of one batch."""

    def add(name: str, help: str, description: str) -> argparse.ArgumentParser:
        parser = commands.add_parser(
            name, help=help, description=description, epilog=_EXIT_CODES, allow_abbrev=False
        )
        parser.add_argument(
            "batch", type=_batch, metavar="BATCH", help="its id, as `facecrop submit` prints it"
        )
        parser.add_argument("--json", action="store_true", help="print JSON objects, one a line")
        parser.set_defaults(command=name)
        return parser

    status = add(
        "status",
        "show how far a batch is",
        "Show a batch's state, images, faces, failures, speed and time left. Exits 0 while it "
        "runs; once it has ended, as `facecrop crop` would have.",
    )
    _add_watch(status)
    failed = add(
        "failed",
        "show which images of a batch failed, and why",
        "Show the images that failed, those of a batch that still runs as well.",
    )
    failed.add_argument("--csv", action="store_true", help="print all of them as CSV")
    retry = add(
        "retry",
        "drive the failed images of a batch again",
        "Start a run that drives only the failed images of a completed batch again, into the same "
        "output.",
    )
    _add_watch(retry)
    add(
        "cancel",
        "end a batch with its shards",
        "End a batch. What it has done stays; submitted again, it goes on from there.",
    )
    add("pause", "take a batch off its workers", "Take a batch off its workers within seconds.")
    add("resume", "have a paused batch go on", "Have a paused batch go on where it stopped.")


def _add_cleanup(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
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
        type=_days,
        default=30.0,
        metavar="DAYS",
        help=f"what is old (above 0, at most {_MOST_DAYS}; default 30)",
    )
    cleanup.add_argument(
        "--store",
        metavar="PREFIX",
        help="folder or URI that the HTTP service keeps uploads/ and batches/ in; also "
        "FACECROP_HTTP_STORE. Without it, only runs are looked at",
    )
    cleanup.add_argument(
        "--batches",
        action="store_true",
        help="the outputs of finished batches in the store, too, crops and all",
    )
    cleanup.add_argument("--yes", action="store_true", help="remove it")
    cleanup.add_argument("--json", action="store_true", help="print JSON objects, one a line")
    cleanup.set_defaults(command="cleanup")


def _add_watch(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--watch", action="store_true", help="show its progress until it is done")


def _add_sample(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    sample = commands.add_parser(
        "sample",
        help="write a ZIP of sample photographs",
        description="Write a ZIP made of the photographs that come with scikit-image: with one "
        "face, several, none, in every EXIF orientation and several formats, and one damaged.",
    )
    sample.add_argument("file", type=Path, metavar="FILE.zip")
    sample.add_argument("--count", type=int, default=40, metavar="N", help="members (default 40)")
    sample.set_defaults(command="sample")


def _add_doctor(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
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
    doctor.add_argument("--json", action="store_true", help="print one JSON object a check")
    doctor.set_defaults(command="doctor")


def _add_queues(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    queues = commands.add_parser(
        "queues",
        help="show what waits, runs and has ended in each queue",
        description="Show each queue of the facecrop-* work pools in which there is anything.",
        epilog=_EXIT_CODES,
    )
    queues.add_argument(
        "--since",
        type=_hours,
        default=24.0,
        metavar="HOURS",
        help="how far back to count what is done and failed (above 0, at most 8784; default 24)",
    )
    queues.add_argument("--all", action="store_true", help="show empty queues, too")
    queues.add_argument("--json", action="store_true", help="print one JSON object a queue")
    queues.set_defaults(command="queues")


def _add_workers(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    workers = commands.add_parser(
        "workers",
        help="show the workers, or have more or fewer",
        description="Show who polls the facecrop-* work pools. `workers scale N` has N of them.",
        epilog=_EXIT_CODES,
    )
    workers.add_argument(
        "--all", action="store_true", help="show those, too, that have been silent for a day"
    )
    workers.add_argument("--json", action="store_true", help="print one JSON object a worker")
    workers.set_defaults(command="workers")
    actions = workers.add_subparsers(metavar="ACTION")
    scale = actions.add_parser(
        "scale",
        help="have so many workers",
        description="Set the number of workers: of the Kubernetes deployment "
        "FACECROP_KUBE_DEPLOYMENT (default deployment/facecrop-worker) where kubectl finds it, "
        "else of infra/compose.yaml where that is up.",
        epilog=_EXIT_CODES,
    )
    scale.add_argument("count", type=_worker_count, metavar="N", help="0 to 1000")
    scale.add_argument(
        "--json",
        action="store_true",
        default=argparse.SUPPRESS,  # a default here would undo a --json before `scale`
        help="print one JSON object",
    )
    scale.set_defaults(command="scale")


def _batch(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text}: should be a batch's id, such as {UUID(int=0)}; `facecrop submit` prints it"
        ) from None


def _add_serve(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
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
        "--port", type=_port, default=8000, metavar="PORT", help="0 for a free one (default 8000)"
    )
    serve.set_defaults(command="serve")


def _add_api_key(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    api_key = commands.add_parser(
        "api-key",
        help="make a key for the HTTP service",
        description="Print a new API key, once, and the line for the file FACECROP_HTTP_KEYS that "
        "lets it in.",
    )
    api_key.add_argument("name", metavar="NAME", help="whom it is for")
    api_key.set_defaults(command="api-key")


def _hours(text: str) -> float:
    return _up_to(_MOST_HOURS, "hours", text)


def _days(text: str) -> float:
    return _up_to(_MOST_DAYS, "days", text)


def _up_to(most: int, unit: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number <= most:
        raise argparse.ArgumentTypeError(f"{text}: should be above 0 and at most {most} {unit}")
    return number


def _priority(text: str) -> int:
    if not (text.isdecimal() and 1 <= int(text) <= 10):
        raise argparse.ArgumentTypeError(f"{text}: should be a number from 1 to 10")
    return int(text)


def _port(text: str) -> int:
    if not (text.isdecimal() and int(text) < _PORTS):
        raise argparse.ArgumentTypeError(f"{text}: should be a number below {_PORTS}")
    return int(text)


def _worker_count(text: str) -> int:
    if not (text.isdecimal() and int(text) <= _MOST_WORKERS):
        raise argparse.ArgumentTypeError(f"{text}: should be a number from 0 to {_MOST_WORKERS}")
    return int(text)

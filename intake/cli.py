"""The `facecrop` command.

Exit codes: 0 done; 1 failed; 2 wrong use; 3 done, but some images failed; 130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys
from importlib.metadata import version
from pathlib import Path

from intake.exits import DONE, FAILED, INTERRUPTED, WRONG_USE, complain
from intake.options import OptionError, add_options, read_options

_EXIT_CODES = "exit codes: 0 done; 1 failed; 2 wrong use; 3 done, but some images failed"
_MOST_HOURS = 8784  # a year
_MOST_WORKERS = 1000


def main(argv: list[str] | None = None) -> int:
    """Runs one command and returns its exit code."""
    arguments = _parser().parse_args(argv)
    try:
        return int(arguments.run(arguments))
    except KeyboardInterrupt:
        complain("interrupted; the same command goes on from here")
        return INTERRUPTED
    except BrokenPipeError:  # whoever read our output has seen enough
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 - held until the process ends
        return FAILED


def _parser() -> argparse.ArgumentParser:
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
    _add_sample(commands)
    _add_doctor(commands)
    _add_queues(commands)
    _add_workers(commands)
    return parser


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
    crop.set_defaults(run=_crop)


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
    submit.add_argument("--watch", action="store_true", help="show its progress until it is done")
    add_options(submit)
    submit.set_defaults(run=_submit)


def _add_sample(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    sample = commands.add_parser(
        "sample",
        help="write a ZIP of sample photographs",
        description="Write a ZIP made of the photographs that come with scikit-image: with one "
        "face, several, none, in every EXIF orientation and several formats, and one damaged.",
    )
    sample.add_argument("file", type=Path, metavar="FILE.zip")
    sample.add_argument("--count", type=int, default=40, metavar="N", help="members (default 40)")
    sample.set_defaults(run=_sample)


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
    doctor.set_defaults(run=_doctor)


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
    queues.set_defaults(run=_queues)


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
    workers.set_defaults(run=_workers)
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
    scale.set_defaults(run=_scale)


def _hours(text: str) -> float:
    try:
        hours = float(text)
    except ValueError:
        hours = 0.0
    if not 0 < hours <= _MOST_HOURS:
        raise argparse.ArgumentTypeError(
            f"{text}: should be above 0 and at most {_MOST_HOURS} hours"
        )
    return hours


def _priority(text: str) -> int:
    if not (text.isdecimal() and 1 <= int(text) <= 10):
        raise argparse.ArgumentTypeError(f"{text}: should be a number from 1 to 10")
    return int(text)


def _worker_count(text: str) -> int:
    if not (text.isdecimal() and int(text) <= _MOST_WORKERS):
        raise argparse.ArgumentTypeError(f"{text}: should be a number from 0 to {_MOST_WORKERS}")
    return int(text)


# Each command imports what it needs when it runs: Prefect alone takes seconds to import, and
# `--help` and a mistyped flag should not wait for it.


def _crop(arguments: argparse.Namespace) -> int:
    try:
        settings = read_options(arguments, os.environ)
    except OptionError as error:
        return _wrong_use(str(error))
    from intake.crop import crop_all

    return crop_all(
        arguments.archives,
        arguments.output,
        settings,
        as_json=arguments.json,
        verbose=arguments.verbose,
    )


def _submit(arguments: argparse.Namespace) -> int:
    try:
        settings = read_options(arguments, os.environ)
    except OptionError as error:
        return _wrong_use(str(error))
    from intake.submit import submit

    return submit(
        arguments.deployment,
        arguments.archive,
        arguments.output,
        settings,
        priority=arguments.priority,
        project=arguments.project,
        watch=arguments.watch,
    )


def _sample(arguments: argparse.Namespace) -> int:
    from intake.samples import write_sample

    try:
        write_sample(arguments.file, arguments.count)
    except ValueError as error:
        return _wrong_use(str(error))
    except OSError as error:
        complain(f"cannot write {arguments.file}: {error.strerror}; name another file")
        return FAILED
    print(f"{arguments.file}: {arguments.count} members")
    return DONE


def _doctor(arguments: argparse.Namespace) -> int:
    from intake.doctor import examine

    output = arguments.output or os.environ.get("FACECROP_DOCTOR_OUTPUT")
    return examine(output, as_json=arguments.json)


def _queues(arguments: argparse.Namespace) -> int:
    from intake.queues import show_queues

    return show_queues(arguments.since, empty=arguments.all, as_json=arguments.json)


def _workers(arguments: argparse.Namespace) -> int:
    from intake.workers import show_workers

    return show_workers(forgotten=arguments.all, as_json=arguments.json)


def _scale(arguments: argparse.Namespace) -> int:
    from intake.workers import scale

    return scale(arguments.count, as_json=arguments.json)


def _wrong_use(message: str) -> int:
    for line in message.splitlines():
        complain(line)
    return WRONG_USE


if __name__ == "__main__":
    sys.exit(main())

"""The `facecrop` command.

Exit codes: 0 done; 1 failed; 2 wrong use; 3 done, but some images failed; 130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from intake.exits import DONE, FAILED, INTERRUPTED, WRONG_USE, complain
from intake.options import OptionError, read_options
from intake.parser import parse


def main(argv: list[str] | None = None) -> int:
    """Runs one command and returns its exit code."""
    arguments = parse(argv)
    try:
        return _COMMANDS[arguments.command](arguments)
    except KeyboardInterrupt:
        complain("interrupted; the same command goes on from here")
        return INTERRUPTED
    except BrokenPipeError:  # whoever read our output has seen enough
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 - held until the process ends
        return FAILED


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
        as_json=arguments.json,
    )


def _status(arguments: argparse.Namespace) -> int:
    from intake.status import show_status

    return show_status(arguments.batch, watched=arguments.watch, as_json=arguments.json)


def _failed(arguments: argparse.Namespace) -> int:
    from intake.status import show_failed

    return show_failed(arguments.batch, as_csv=arguments.csv, as_json=arguments.json)


def _retry(arguments: argparse.Namespace) -> int:
    from intake.status import retry

    return retry(arguments.batch, watched=arguments.watch, as_json=arguments.json)


def _steer(arguments: argparse.Namespace) -> int:
    from intake.status import steer

    return steer(arguments.command, arguments.batch, as_json=arguments.json)


def _cleanup(arguments: argparse.Namespace) -> int:
    from intake.cleanup import clean_up

    return clean_up(
        arguments.older_than,
        arguments.store,
        outputs=arguments.batches,
        remove=arguments.yes,
        as_json=arguments.json,
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


def _serve(arguments: argparse.Namespace) -> int:
    from intake.http import serve

    return serve(arguments.host, arguments.port)


def _api_key(arguments: argparse.Namespace) -> int:
    from intake.keys import make_key

    try:
        key, line = make_key(arguments.name)
    except ValueError as error:
        return _wrong_use(str(error))
    print(f"{key}\n\nThis is shown once. The line for the file FACECROP_HTTP_KEYS:\n\n{line}")
    return DONE


def _wrong_use(message: str) -> int:
    for line in message.splitlines():
        complain(line)
    return WRONG_USE


_COMMANDS = {
    "crop": _crop,
    "submit": _submit,
    "status": _status,
    "failed": _failed,
    "retry": _retry,
    "cancel": _steer,
    "pause": _steer,
    "resume": _steer,
    "cleanup": _cleanup,
    "sample": _sample,
    "doctor": _doctor,
    "queues": _queues,
    "workers": _workers,
    "scale": _scale,
    "serve": _serve,
    "api-key": _api_key,
}


if __name__ == "__main__":
    sys.exit(main())

"""Commands about one batch, by its id: `status`, `failed`, `retry`, `cancel` and others."""

from __future__ import annotations

import argparse

from intake.cli.exits import EXIT_CODES
from intake.cli.options import add_options
from intake.cli.parsers.values import (
    A_LINE,
    Commands,
    add_json,
    add_watch,
    batch_id,
)


def add_commands(commands: Commands) -> None:
    """Add the commands that take the id of one batch."""

    def add(
        name: str, function: str, help: str, description: str, **given: str
    ) -> argparse.ArgumentParser:
        parser = commands.add_parser(
            name, help=help, description=description, epilog=EXIT_CODES, allow_abbrev=False
        )
        parser.add_argument(
            "batch", type=batch_id, metavar="BATCH", help="its id, as `facecrop submit` prints it"
        )
        add_json(parser, A_LINE)
        parser.set_defaults(function=f"status:{function}", **given)
        return parser

    status = add(
        "status",
        "show_status",
        "show how far a batch is",
        "Show a batch's state, images, faces, failures, speed and time left. Exits 0 while it "
        "runs; once it has ended, as `facecrop crop` would have.",
    )
    add_watch(status)
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
    add_watch(retry)
    add_options(retry, only=["limits"])
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

"""Commands about machines: `sample`, `doctor`, `queues`, `workers`, `serve`, `api-key`."""

from __future__ import annotations

import argparse
from pathlib import Path

from intake.cli.exits import EXIT_CODES
from intake.cli.parsers.values import Commands, add_json, up_to, whole

_MOST_HOURS = 8784  # a year
_MOST_WORKERS = 1000
_PORTS = 1 << 16


def add_commands(commands: Commands) -> None:
    """Add the commands."""
    _add_sample(commands)
    _add_doctor(commands)
    _add_queues(commands)
    _add_workers(commands)
    _add_serve(commands)
    _add_api_key(commands)


def _add_sample(commands: Commands) -> None:
    sample = commands.add_parser(
        "sample",
        help="write a ZIP of sample photographs",
        description="Write a ZIP made of the photographs that come with scikit-image: with one "
        "face, several, none, in every EXIF orientation and several formats, and one damaged.",
    )
    sample.add_argument("path", type=Path, metavar="FILE.zip")
    sample.add_argument("--count", type=int, default=40, metavar="N", help="members (default 40)")
    sample.set_defaults(function="samples:sample")


def _add_doctor(commands: Commands) -> None:
    doctor = commands.add_parser(
        "doctor",
        help="check that everything a batch needs is there",
        description="Check the Prefect server of PREFECT_API_URL, its Redis, pools, workers and "
        "deployments, and the output: a line each, with what to do. Exits 1 if one is bad.",
        epilog=EXIT_CODES,
    )
    doctor.add_argument(
        "--output",
        metavar="DIR",
        help="folder or URI to write a small file to, and delete it again; also "
        "FACECROP_DOCTOR_OUTPUT",
    )
    add_json(doctor, "print one JSON object a check")
    doctor.set_defaults(function="doctor:examine")


def _add_queues(commands: Commands) -> None:
    queues = commands.add_parser(
        "queues",
        help="show what waits, runs and has ended in each queue",
        description="Show each queue of the facecrop-* work pools in which there is anything.",
        epilog=EXIT_CODES,
    )
    queues.add_argument(
        "--since",
        dest="hours",
        type=up_to(_MOST_HOURS, "hours"),
        default=24.0,
        metavar="HOURS",
        help="how far back to count what is done and failed (above 0, at most 8784; default 24)",
    )
    queues.add_argument("--all", dest="empty", action="store_true", help="show empty queues, too")
    add_json(queues, "print one JSON object a queue")
    queues.set_defaults(function="queues:show_queues")


def _add_workers(commands: Commands) -> None:
    workers = commands.add_parser(
        "workers",
        help="show the workers, or have more or fewer",
        description="Show who polls the facecrop-* work pools. `workers scale N` has N of them.",
        epilog=EXIT_CODES,
    )
    workers.add_argument(
        "--all",
        dest="forgotten",
        action="store_true",
        help="show those, too, that have been silent for a day",
    )
    add_json(workers, "print one JSON object a worker")
    workers.set_defaults(function="workers:show_or_scale", count=None)
    actions = workers.add_subparsers(metavar="ACTION")
    scale = actions.add_parser(
        "scale",
        help="have so many workers",
        description="Set the number of workers: of the Kubernetes deployment "
        "FACECROP_KUBE_DEPLOYMENT (default deployment/facecrop-worker) where kubectl finds it, "
        "else of infra/compose.yaml where that is up.",
        epilog=EXIT_CODES,
    )
    count = whole(0, _MOST_WORKERS, f"from 0 to {_MOST_WORKERS}")
    scale.add_argument("count", type=count, metavar="N", help="0 to 1000")
    # a default here would undo a --json before `scale`
    add_json(scale, "print one JSON object", default=argparse.SUPPRESS)


def _add_serve(commands: Commands) -> None:
    serve = commands.add_parser(
        "serve",
        help="take batches in over HTTP",
        description="Serve HTTP in front of the Prefect server of PREFECT_API_URL. Its settings "
        "are FACECROP_HTTP_* in the environment: see docs/operate/http.md.",
        epilog=EXIT_CODES,
    )
    serve.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="address to bind to (default 127.0.0.1; another needs API keys)",
    )
    serve.add_argument(
        "--port",
        type=whole(0, _PORTS - 1, f"below {_PORTS}"),
        default=8000,
        metavar="PORT",
        help="0 for a free one (default 8000)",
    )
    serve.set_defaults(function="serve:serve")


def _add_api_key(commands: Commands) -> None:
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

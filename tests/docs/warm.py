"""Forks the commands of samples from a process that has imported what they need.

`facecrop`, `prefect` and `python` take half a second to three seconds to import, and the documents
have a hundred of them. They do here what they do on a terminal: only their imports are shared.
"""

from __future__ import annotations

import json
import os
import runpy
import socket
import sys
import warnings

from detection.forking.server import ForkServer
from tests.docs.commands import check, stays

COMMAND = "SAMPLE_COMMAND"

_PLAIN = (
    "intake.cli.crop",
    "intake.cli.recrop",
    "intake.cli.preview",
    "intake.cli.find",
    "intake.cli.forget",
    "intake.cli.report",
    "intake.cli.samples",
    "pipeline.local",
    "pyarrow.parquet",
)
_SERVED = (
    *("prefect.cli", "prefect.cli.deployment", "prefect.deployments", "deployments.apply"),
    *("intake.cli.submit", "intake.cli.status", "intake.cli.cleanup", "intake.cli.doctor"),
    *("intake.cli.queues", "intake.cli.workers", "flows.crop_archive", "tests.deployed"),
)


def _run() -> None:
    program, *words = json.loads(os.environ.pop(COMMAND))
    sys.argv = [program, *words]
    if stays(program, words):
        check(program, words)
    elif program == "facecrop":
        from intake.cli.main import main

        sys.exit(main())
    elif program == "prefect":
        from prefect.cli import app

        app()
    elif words[:3] == ["-P", "-m", "deployments"] and "FACECROP_WEBHOOK_URL" not in os.environ:
        from tests.deployed import deploy

        deploy()
    elif words and words[0].endswith(".py"):
        sys.argv = words
        runpy.run_path(words[0], run_name="__main__")
    else:
        os.execv(sys.executable, [sys.executable, *words])


def main() -> None:
    """Import, and fork whenever a sample's command asks; without a socket, be one of these."""
    if not sys.argv[1:]:
        _run()
        return
    server = ForkServer(socket.socket(fileno=int(sys.argv[1])), "facecrop-sample")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        server.load((*_PLAIN, *(_SERVED if "PREFECT_API_URL" in os.environ else ())))
    server.serve(_run)


if __name__ == "__main__":
    main()

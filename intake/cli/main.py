"""The `facecrop` command."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from detection.sandbox.safepath import safe_path
from intake.cli.console import FAILED, INTERRUPTED, WRONG_USE, complain
from intake.cli.options import OptionError, read_options
from intake.cli.parsers.cropping import CROP
from intake.cli.parsers.parse import parse
from storage.hidden import without_pandas
from tasks.environment import set_environment


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit code."""
    if isinstance(sys.stdout, TextIOWrapper):
        # a pipe's on Windows has some 250 signs, and an archive's name may have others
        sys.stdout.reconfigure(errors="backslashreplace")
    function, given = parse(argv)
    set_environment()
    # NumPy comes with pyarrow and starts a thread a core, which nothing here uses
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.update(safe_path(os.environ))  # for Prefect's server, which it starts by `-m`
    try:
        with without_pandas():
            return _run(function, given)
    except KeyboardInterrupt:
        complain("interrupted; the same command goes on from here")
        return INTERRUPTED
    except BrokenPipeError:  # whoever read our output has seen enough
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 - held until the process ends
        return FAILED


def _run(function: str, given: dict[str, Any]) -> int:
    if "settings" in given:
        try:
            given["settings"] = read_options(given["settings"], os.environ)
        except OptionError as error:
            for line in str(error).splitlines():
                complain(line)
            return WRONG_USE
    if function == CROP:
        from pipeline.images import warm_up

        warm_up(given["settings"].run.threads)  # they import what they need while we do
    # only now: Prefect alone takes seconds to import, and a mistyped flag should not wait for it
    module, _, name = function.partition(":")
    code: int = getattr(import_module(f"intake.cli.{module}"), name)(**given)
    return code

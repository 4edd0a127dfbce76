"""`facecrop crop`: archives cropped in this process, with a progress bar.

Prefect is imported only where a batch is to be a flow run: that takes seconds.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from intake.cli.bar import Bar
from intake.cli.console import (
    DONE,
    DONE_WITH_FAILURES,
    FAILED,
    WRONG_USE,
    complain,
    explain,
    plain,
)
from intake.cli.render import render
from intake.control.configured import configured_url
from pipeline.progress import Snapshot
from pipeline.settings import CropSettings
from pipeline.summary import Summary
from storage.fs.location import probe, resolve
from storage.fs.redact import bare, shown, shown_uri
from tasks.variables import CONSOLE_LEVEL

Listener = Callable[[Snapshot], None]
Run = Callable[[str, str, Listener], Summary]


def crop_all(
    archives: list[str],
    output: str,
    settings: CropSettings,
    *,
    with_prefect: bool | None,
    as_json: bool,
    verbose: bool,
) -> int:
    """Crops each archive, prints its result, and returns the exit code.

    Args:
        archives, output, settings: as given.
        with_prefect: whether each is a flow run; None where it depends on a server's being
            configured.
        as_json: one JSON object an archive instead of lines for people.
        verbose: show the log and tracebacks, and no progress bar.
    """
    try:
        outputs = _outputs(archives, output)
    except ValueError as error:
        complain(str(error))
        return WRONG_USE
    if with_prefect is None:
        with_prefect = configured_url() is not None
    set_up_log(verbose=verbose)

    def run(archive: str, place: str, listener: Listener) -> Summary:
        return _run(archive, place, settings, listener, with_prefect=with_prefect)

    with terminable():
        codes = [
            _crop_one(archive, place, run, as_json=as_json, verbose=verbose)
            for archive, place in outputs.items()
        ]
    return next((code for code in (FAILED, DONE_WITH_FAILURES) if code in codes), DONE)


def set_up_log(*, verbose: bool) -> None:
    """Show the log where that is asked for: else what it would say, bar and error line say."""
    if verbose:
        to_stderr = logging.StreamHandler()
        to_stderr.setFormatter(_Redacting("%(asctime)s | %(levelname)s | %(message)s", "%H:%M:%S"))
        logging.basicConfig(handlers=[to_stderr])
    else:
        logging.basicConfig(handlers=[logging.NullHandler()])
        os.environ.setdefault(CONSOLE_LEVEL.name, CONSOLE_LEVEL.value)


class _Redacting(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return shown(super().format(record))


def _outputs(archives: list[str], output: str) -> dict[str, str]:
    """Where each archive's batch goes: a single one into `output`, several into folders of it."""
    if len(archives) == 1:
        return {archives[0]: output}
    names = [bare(one).replace("\\", "/").rstrip("/").rpartition("/")[2] for one in archives]
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        raise ValueError(f"two archives are named {twice[0]}; crop them into separate outputs")
    return {
        archive: f"{output.rstrip('/')}/{name}"
        for archive, name in zip(archives, names, strict=True)
    }


def _crop_one(archive: str, output: str, run: Run, *, as_json: bool, verbose: bool) -> int:
    name = shown_uri(archive)
    try:
        with Bar(plain(name), shown=not verbose) as bar:
            summary = run(archive, output, bar.show).model_copy(update={"archive": name})
    except Exception as error:  # noqa: BLE001 - whatever it is, a person gets one line
        message = shown(explain(error, verbose=verbose))
        complain(message)
        if as_json:
            failure = {"archive": name, "output": shown(output), "error": message}
            print(json.dumps(failure), flush=True)
        return FAILED
    print(summary.model_dump_json() if as_json else render(summary), flush=True)
    if said := _silence():
        complain(said)
    return DONE if summary.counts.is_flawless else DONE_WITH_FAILURES


def _run(
    archive: str, output: str, settings: CropSettings, on_progress: Listener, *, with_prefect: bool
) -> Summary:
    if not with_prefect:
        from pipeline.local import crop

        return crop(archive, output, settings, on_progress)
    # a mistyped name need not wait until Prefect has started
    probe(resolve(archive, settings.input.redirects))
    from intake.cli.flowrun import crop_in_flow

    return crop_in_flow(archive, output, settings, on_progress)


def _silence() -> str | None:
    """A line on a server that does not know all; None where it does, or where there is none."""
    lifecycle = sys.modules.get("tasks.lifecycle.server")
    silent = lifecycle.silence() if lifecycle else None
    if silent is None:
        return None
    server = configured_url()
    where = f" at {shown(server)}" if server else ""
    return (
        f"the Prefect server{where} {silent}: the output is complete, the run's page there is not"
    )


@contextmanager
def terminable() -> Iterator[None]:
    """Make SIGTERM end the work as Ctrl-C does: in seconds, with nothing half-written."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        if "tasks.lifecycle.server" in sys.modules:  # what is not imported keeps nobody waiting
            sys.modules["tasks.lifecycle.server"].hurry()
        raise KeyboardInterrupt

    before = {one: signal.signal(one, interrupt) for one in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)

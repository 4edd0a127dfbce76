"""`facecrop crop`: archives cropped in this process, with a progress bar."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from intake.bar import Bar
from intake.exits import (
    DONE,
    DONE_WITH_FAILURES,
    FAILED,
    WRONG_USE,
    complain,
    explain,
    mask,
    plain,
)
from intake.render import render
from storage.location import probe, resolve
from storage.redact import HIDDEN
from tasks.settings import CropSettings
from tasks.summary import Summary


def crop_all(
    archives: list[str], output: str, settings: CropSettings, *, as_json: bool, verbose: bool
) -> int:
    """Crops each archive, prints what came of it, and returns the exit code."""
    try:
        outputs = _outputs(archives, output)
    except ValueError as error:
        complain(str(error))
        return WRONG_USE
    if not verbose:
        # what the log would say, the bar and the error line say
        os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    with _terminable():
        codes = [
            _crop_one(archive, place, settings, as_json=as_json, verbose=verbose)
            for archive, place in outputs.items()
        ]
    return next((code for code in (FAILED, DONE_WITH_FAILURES) if code in codes), DONE)


def _outputs(archives: list[str], output: str) -> dict[str, str]:
    """Where each archive's batch goes: a single one into `output`, several into folders of it."""
    if len(archives) == 1:
        return {archives[0]: output}
    paths = [mask(archive).removesuffix(f"?{HIDDEN}") for archive in archives]
    names = [path.replace("\\", "/").rstrip("/").rpartition("/")[2] for path in paths]
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        raise ValueError(f"two archives are named {twice[0]}; crop them into separate outputs")
    return {
        archive: f"{output.rstrip('/')}/{name}"
        for archive, name in zip(archives, names, strict=True)
    }


def _crop_one(
    archive: str, output: str, settings: CropSettings, *, as_json: bool, verbose: bool
) -> int:
    name = mask(archive)
    try:
        with Bar(plain(name), shown=not verbose) as bar:
            summary = _run(archive, output, settings, bar).model_copy(update={"archive": name})
    except Exception as error:  # noqa: BLE001 - whatever it is, a person gets one line
        message = mask(explain(error, verbose=verbose))
        complain(message)
        if as_json:
            print(json.dumps({"archive": name, "output": output, "error": message}), flush=True)
        return FAILED
    print(summary.model_dump_json() if as_json else render(summary), flush=True)
    return DONE_WITH_FAILURES if summary.failed else DONE


def _run(archive: str, output: str, settings: CropSettings, bar: Bar) -> Summary:
    probe(resolve(archive))  # a mistyped name need not wait until Prefect has started
    from tasks.reporter import LISTENER

    listening = LISTENER.set(bar.show)
    try:
        return crop_here(archive, output, settings)
    finally:
        LISTENER.reset(listening)


def crop_here(archive: str, output: str, settings: CropSettings) -> Summary:
    """Runs the flow in this process, outside of any work pool.

    Raises:
        What the flow raises.
    """
    from prefect.context import SettingsContext, get_settings_context

    from flows.crop_archive import crop_archive

    # nobody looks for the heartbeats of a run outside of a work pool, and the thread that sends
    # them ends only at a whole second; Prefect's temporary_settings would read them all again
    context = get_settings_context()
    flows = context.settings.flows.model_copy(update={"heartbeat_frequency": None})
    without = context.settings.model_copy(update={"flows": flows})
    with SettingsContext(profile=context.profile, settings=without):
        return crop_archive(archive, output, settings)


@contextmanager
def _terminable() -> Iterator[None]:
    """Makes SIGTERM end the work as Ctrl-C does: in seconds, with nothing half-written."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)

"""`facecrop recrop`: the faces of a finished batch cut out another way, in this process."""

from __future__ import annotations

import json
from typing import Any

from pydantic import ValidationError

from detection.presets import PRESETS
from detection.settings import CutSettings
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
from intake.cli.crop import set_up_log, terminable
from intake.cli.render import render
from pipeline.recrop.local import recrop
from pipeline.recrop.settings import RecropSettings
from pipeline.settings import CropSettings
from storage.fs.redact import shown, shown_uri


def recrop_all(
    output: str,
    into: str,
    where: str,
    cuts: list[str],
    settings: CropSettings,
    *,
    as_json: bool,
    verbose: bool,
) -> int:
    """Recrop a batch, print what came of each output, and return the exit code.

    Args:
        output, into, where: as `pipeline.recrop.local.recrop` has them.
        cuts: as given, `NAME[:FIELD=VALUE,...]` each.
        settings: as given; what does not belong to a recrop is passed over.
        as_json: one JSON object an output instead of lines for people.
        verbose: show the log and tracebacks, and no progress bar.
    """
    try:
        asked = _asked(where, cuts, settings)
    except ValidationError as error:
        for fault in error.errors():
            complain(_complaint(fault))
        return WRONG_USE
    except ValueError as error:
        complain(str(error))
        return WRONG_USE
    set_up_log(verbose=verbose)
    name = shown_uri(output)
    with terminable():
        try:
            with Bar(plain(name), shown=not verbose) as bar:
                made = recrop(output, into, asked, bar.show)
        except Exception as error:  # noqa: BLE001 - whatever it is, a person gets one line
            message = shown(explain(error, verbose=verbose))
            complain(message)
            if as_json:
                failure = {"batch": name, "output": shown(into), "error": message}
                print(json.dumps(failure), flush=True)
            return FAILED
    for summary in made:
        print(summary.model_dump_json() if as_json else render(summary), flush=True)
    flawless = all(summary.counts.is_flawless for summary in made)
    return DONE if flawless else DONE_WITH_FAILURES


def _asked(where: str, cuts: list[str], settings: CropSettings) -> RecropSettings:
    given = settings.crop.model_dump(include=settings.crop.model_fields_set)
    named: dict[str, CutSettings] = {}
    for one in cuts:
        name, _, fields = one.partition(":")
        if name in named:
            raise ValueError(f"--cut {one}: {name} is there twice; give each a name of its own")
        named[name] = _cut(one, name, fields, given)
    return RecropSettings(
        crop=settings.crop,
        cuts=named,
        where=where,
        layout=settings.output.layout,
        run=settings.run,
    )


def _cut(said: str, name: str, fields: str, given: dict[str, Any]) -> CutSettings:
    """The settings that one `--cut` asks for."""
    chosen = {"preset": name} if name in PRESETS else {}
    for field in filter(None, fields.split(",")):
        key, equals, value = field.partition("=")
        if not equals:
            raise ValueError(f"--cut {said}: {field} should be FIELD=VALUE, such as size=600")
        chosen[key.strip()] = value.strip()
    if not chosen:
        presets = ", ".join(one for one in PRESETS if one != "none")
        raise ValueError(
            f"--cut {said}: say how, as in {name or 'NAME'}:size=600, or name a preset: {presets}"
        )
    try:
        return CutSettings.model_validate({**given, **chosen})
    except ValidationError as error:
        raise ValueError(
            "\n".join(f"--cut {said}: {_complaint(fault)}" for fault in error.errors())
        ) from error


def _complaint(fault: Any) -> str:
    if fault["type"] == "extra_forbidden":
        return f"{fault['loc'][-1]} is none of {', '.join(CutSettings.model_fields)}"
    message = str(fault["msg"]).removeprefix("Value error, ").replace("Input should", "should")
    of_field = fault["loc"] and fault["loc"][-1] not in ("where", "cuts")
    return f"{fault['loc'][-1]} {fault['input']}: {message}" if of_field else message

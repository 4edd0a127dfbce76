"""`facecrop report`: the report of a finished batch written anew."""

from __future__ import annotations

import json

from intake.cli.console import DONE, explain, fail, plain
from intake.cli.crop import terminable
from pipeline.photographs.report import rewrite_report
from storage.fs.redact import shown


def rewrite(output: str, *, photographs: bool, as_json: bool) -> int:
    """Write the report, print where it is, and return the exit code.

    Args:
        output, photographs: as `pipeline.photographs.report.rewrite_report` has them.
        as_json: one JSON object instead of a line for people.
    """
    try:
        with terminable():
            report = shown(rewrite_report(output, photographs=photographs))
    except Exception as error:  # noqa: BLE001 - whatever it is, a person gets one line
        return fail(shown(explain(error, verbose=False)), as_json=as_json)
    print(json.dumps({"report": report}) if as_json else plain(report), flush=True)
    return DONE

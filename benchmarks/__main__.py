"""`python -m benchmarks NAME [--photos FOLDER] [--json]`: runs one benchmark and prints it."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from pathlib import Path

import cv2
from rich.console import Console

from benchmarks import (
    accuracy,
    alike,
    blurred,
    crops,
    crowds,
    extend,
    growth,
    heads,
    latency,
    limit,
    many,
    million,
    preview,
    quality,
    recrop,
    small,
    upload,
)

_BENCHMARKS = {
    "accuracy": accuracy,
    "alike": alike,
    "blurred": blurred,
    "crops": crops,
    "crowds": crowds,
    "extend": extend,
    "growth": growth,
    "heads": heads,
    "latency": latency,
    "limit": limit,
    "many": many,
    "million": million,
    "preview": preview,
    "quality": quality,
    "recrop": recrop,
    "small": small,
    "upload": upload,
}


def main() -> None:
    cv2.setNumThreads(1)  # as in the processes that a batch crops in
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    names = parser.add_subparsers(dest="name", metavar="NAME", required=True)
    for name, module in _BENCHMARKS.items():
        about = (module.__doc__ or "").partition("\n\n")[0]
        one = names.add_parser(
            name,
            help=about,
            description=module.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        one.add_argument(
            "--photos",
            type=Path,
            metavar="FOLDER",
            help="photos to work on; default: ../shared/data/photos, else a generated sample",
        )
        one.add_argument(
            "--rounds", type=int, default=5, help="turns of each side (default: %(default)s)"
        )
        one.add_argument("--json", action="store_true", help="print one JSON object")
        module.add_options(one)
    options = parser.parse_args()
    # As an exception, so that a benchmark that is ended ends its Prefect server.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    report = _BENCHMARKS[options.name].run(options)
    if options.json:
        print(json.dumps({"benchmark": options.name, **report.as_dict()}))
    else:
        report.show(Console())


if __name__ == "__main__":
    main()

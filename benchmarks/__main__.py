"""`python -m benchmarks NAME [--photos FOLDER] [--json]`: runs one benchmark and prints it."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from benchmarks import accuracy, classic, growth, limit, million, peers, shards, stages, upload

_BENCHMARKS = {
    "accuracy": accuracy,
    "classic": classic,
    "growth": growth,
    "limit": limit,
    "million": million,
    "peers": peers,
    "shards": shards,
    "stages": stages,
    "upload": upload,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    names = parser.add_subparsers(dest="name", metavar="NAME", required=True)
    for name, module in _BENCHMARKS.items():
        about = (module.__doc__ or "").partition("\n\n")[0]
        one = names.add_parser(name, help=about, description=module.__doc__)
        one.add_argument(
            "--photos",
            type=Path,
            metavar="FOLDER",
            help="photos to work on; default: ../shared/data/photos, else a generated sample",
        )
        one.add_argument("--json", action="store_true", help="print one JSON object")
        module.add_options(one)
    options = parser.parse_args()
    # As an exception, so that a benchmark that is ended ends its Prefect server.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    result = _BENCHMARKS[options.name].run(options)
    if options.json:
        print(json.dumps({"benchmark": options.name, **asdict(result)}))
    else:
        result.show(Console())


if __name__ == "__main__":
    main()
